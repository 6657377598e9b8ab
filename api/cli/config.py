"""`ai-provider config` and `ai-provider providers`: what is configured, where each value comes from, what it leads to."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from api.cli import output
from api.cli.errors import CommandFailed
from infrastructure.core.config_core import Loaded, Provider, Settings, load, sandbox_wanted
from infrastructure.core.config_core.explaining import Explanation, explain_key, nearest
from infrastructure.core.config_core.faults import did_you_mean
from infrastructure.core.config_core.trees import leaves, schema

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


def explain(key: str, *, as_json: bool) -> None:
    """Write all that is known of one key: its value, what every layer says of it, its meaning, range and names.

    Raises:
        CommandFailed: there is no such key, or it is a section.
    """
    loaded = load()
    found = explain_key(key, loaded)
    if found is None:
        known = _known(loaded)
        if inner := [one for one in known if one.startswith(f"{key}.")]:
            raise CommandFailed(f"{key}: a section; its settings are {', '.join(inner)}")
        raise CommandFailed(f"{key}: no such setting{did_you_mean(key, known)}")
    if as_json:
        output.dump(found.as_json())
    else:
        _write(found)


def write_schema() -> None:
    """Write the JSON schema of a configuration file."""
    output.dump(schema())


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


def _write(found: Explanation) -> None:
    output.fields([
        ("key", found.key),
        ("value", found.value),
        ("origin", found.origin),
        ("means", found.meaning or "-"),
        ("allowed", found.allowed),
        ("default", found.default),
        ("takes effect", found.takes_effect),
        ("variables", ", ".join(found.variables) or "-"),
        ("secrets", ", ".join(found.secrets) or "-"),
    ])  # fmt: skip
    if found.said:
        output.say("\nWhat the layers say, the last one holds:")
        output.table(("layer", "value"), [(origin, value) for origin, value in found.said])


def _known(loaded: Loaded) -> list[str]:
    return [key for key, _ in leaves(loaded.settings)]


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Return where a value comes from; tables such as `models` are known by their own key."""
    found = origins[path] if (path := nearest(key, origins)) else DEFAULT
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
