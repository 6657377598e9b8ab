"""The configuration as nested tables and as flat, masked text: for `get`, for a person, and as a JSON schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from infrastructure.core.config_core.fixed import is_fixed
from infrastructure.core.config_core.names import INNER
from infrastructure.core.config_core.settings import Settings

MASK = "********"
ABSENT = object()


def tree_of(settings: Settings) -> dict[str, Any]:
    """Return the values as nested tables of plain types; a secret stays a SecretStr, which prints as stars.

    A URL without credentials is no secret.
    """
    tree = {name: _plain(getattr(settings, name)) for name in Settings.model_fields}
    tree["providers"] = {"enabled": list(settings.enabled), **tree["providers"]}
    del tree["enabled"]
    return tree


def find(tree: Any, key: str) -> Any:
    """Return what stands under a dotted key, ABSENT when nothing does; names in a table may hold dots themselves."""
    if not isinstance(tree, Mapping):
        return ABSENT
    if key in tree:
        return tree[key]
    parts = key.split(".")
    for length in range(len(parts) - 1, 0, -1):
        head = ".".join(parts[:length])
        if head in tree and (found := find(tree[head], ".".join(parts[length:]))) is not ABSENT:
            return found
    return ABSENT


def leaves(settings: Settings) -> Iterable[tuple[str, str]]:
    """Yield the dotted keys with their values as text, secrets masked."""
    tree = tree_of(settings)
    return _leaves({name: tree[name] for name in tree if name != "version"}, "")


def shown(key: str, value: Any) -> str:
    """Return a value as a person may see it: secrets are stars, and so are the credentials in a URL."""
    if isinstance(value, SecretStr):
        return shown_secret(key, value.get_secret_value())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {shown(f'{key}.{name}', inner)}" for name, inner in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "-" if value is None else without_credentials(str(value))


def shown_secret(key: str, text: str) -> str:
    """Return a secret's text as a person may see it: stars, or the part of a URL that is none."""
    return without_credentials(text) if key.endswith("url") and "://" in text else MASK


def without_credentials(text: str) -> str:
    """Return a URL without what stands before its `@` and behind its `?`; any other text as it is."""
    if "://" not in text:
        return text
    scheme, _, rest = text.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


def schema() -> dict[str, Any]:
    """Return the JSON schema of a configuration file: types, ranges, what each key means, when a change takes effect."""
    whole = Settings.model_json_schema()
    properties = {name: part for name, part in whole["properties"].items() if name not in INNER}
    enabled = whole["properties"]["enabled"]
    properties["providers"] = {
        **properties["providers"], "properties": {"enabled": {**enabled, "minItems": 1}},
    }  # fmt: skip
    for name, part in Settings.model_fields.items():
        section = part.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            for field, described in whole["$defs"][section.__name__]["properties"].items():
                described["x-takes-effect"] = "start" if is_fixed(f"{name}.{field}") else "reload"
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        "title": "AI Provider configuration",
        "description": "One file of config/{service}/: every key may be left out.",
        "properties": properties,
    }


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: _plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, SecretStr):
        return _plain_url(value)
    return value.value if hasattr(value, "value") else value


_ADDRESSES = frozenset({"redis", "rediss", "unix", "http", "https", "postgres", "postgresql", "mysql", "sqlite"})


def _plain_url(secret: SecretStr) -> SecretStr | str:
    text = secret.get_secret_value()
    try:
        parts = urlsplit(text)
    except ValueError:
        return secret
    is_open = parts.scheme in _ADDRESSES and "://" in text and "@" not in text and not parts.query
    return text if is_open else secret


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", shown(f"{prefix}{name}", value)
