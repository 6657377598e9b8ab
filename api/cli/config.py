"""`ai-provider config` and `ai-provider providers`: what is configured, where each value comes from, what it leads to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from api.cli import output
from infrastructure.core.config_core import Provider, Settings, load, sandbox_wanted
from infrastructure.core.redis_core import shown

DEFAULT = "default"


def check() -> None:
    """Say that the configuration is good.

    Raises:
        ConfigError: with every fault found.
    """
    settings = load().settings
    output.say(f"The configuration is valid (environment {settings.environment.value}, version {settings.version}).")


def show(*, as_json: bool) -> None:
    """Write every value with where it comes from; secrets are masked."""
    loaded = load()
    rows = [(key, value, _origin(key, loaded.origins)) for key, value in leaves(loaded.settings)]
    if as_json:
        output.dump({key: {"value": value, "origin": origin} for key, value, origin in rows})
    else:
        output.table(("key", "value", "origin"), rows)


def providers(*, as_json: bool) -> None:
    """Write every configured provider, and whether it is in use or why it is not."""
    settings = load().settings
    rows = [_provider_row(name, provider, settings) for name, provider in settings.providers.items()]
    if as_json:
        names = ("name", "kind", "state", "models", "base_url")
        output.dump([dict(zip(names, row, strict=True)) for row in rows])
        return
    output.table(("name", "kind", "state", "models", "base URL"), rows)
    if sandbox_wanted(settings):
        output.note("None has a key: `up` and `demo` use the sandbox, whose answers are made up.")


def leaves(value: BaseModel, prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yield the dotted keys of the configuration with their values as text."""
    for name in type(value).model_fields:
        yield from _leaf(f"{prefix}{name}", getattr(value, name))


def _leaf(key: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, BaseModel):
        yield from leaves(value, f"{key}.")
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaf(f"{key}.{name}", inner)
    elif isinstance(value, SecretStr):
        yield key, _secret(key, value)
    elif isinstance(value, tuple):
        yield key, ", ".join(map(str, value))
    else:
        yield key, "-" if value is None else _without_credentials(str(value))


def _secret(key: str, value: SecretStr) -> str:
    """Mask a secret; of a URL only its credentials are one."""
    return shown(value.get_secret_value()) if key.endswith("url") else "********"


def _without_credentials(text: str) -> str:
    if "://" not in text or "@" not in text:
        return text
    scheme, _, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Return where a value comes from; tables such as `models` are known by their own key."""
    names = {"enabled": "providers.enabled"}
    key = names.get(key, key)
    found = next((origins[path] for path in origins if key == path or key.startswith(f"{path}.")), DEFAULT)
    return found.rpartition("/")[2] if found.endswith(".yml") else found


def _provider_row(name: str, provider: Provider, settings: Settings) -> tuple[str, ...]:
    host = urlsplit(provider.base_url).netloc.rpartition("@")[2] if provider.base_url else "-"
    return name, provider.kind.value, _state(name, provider, settings), " ".join(provider.models) or "-", host


def _state(name: str, provider: Provider, settings: Settings) -> str:
    if name in settings.in_use():
        return "in use"
    if name not in settings.enabled:
        return "not in providers.enabled"
    if provider.needs_key:
        return f"no key: set {name.upper().replace('-', '_')}_API_KEY"
    return "no base_url"
