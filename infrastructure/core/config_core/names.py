"""The names of a setting: its dotted key, its variable, its secret."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache

from pydantic import BaseModel

from infrastructure.core.config_core.settings import Provider, Settings
from infrastructure.core.config_core.sources import Sources

OPEN_TABLES = frozenset({"models", "services"})
"""Tables whose keys are names of the world outside: a leaf each, merged whole, JSON in a variable."""
INNER = frozenset({"environment", "enabled", "version"})
"""Fields of the settings that are no keys of a file."""
PROVIDER_LEAF_DEPTH = 3  # providers.{name}.{field}
ENABLED = "providers.enabled"
SHORT = {"PORT": "service.port", "HOST": "service.host", "DATA_DIR": "service.data_dir", "LOG_LEVEL": "logging.level",
         "LOG_FORMAT": "logging.format", "HMAC_SECRET": "service.hmac_secret"}  # fmt: skip
PLAIN_SECRETS = {"HMAC_SECRET": "service.hmac_secret", "DATABASE_PASSWORD": "database.password"}
"""Secrets that have a name without the service's prefix too: `/run/secrets/database_password`."""
ALIASES = {"GEMINI_API_KEY": "GOOGLE_API_KEY"}
NOT_SHARED = frozenset({"prices", "models", "kind"})
"""Fields of a provider that have no variable of its own prefix: the names are too likely to be another program's."""


@cache
def leaf_keys() -> tuple[str, ...]:
    """Return every dotted key of fixed name, but for the providers'."""
    return (ENABLED, *_leaves_of(Settings, ""))


def _leaves_of(section: type[BaseModel], above: str) -> Iterator[str]:
    for name, info in section.model_fields.items():
        key, inner = f"{above}{name}", info.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _leaves_of(inner, f"{key}.")
        elif above or name in OPEN_TABLES:
            yield key


def provider_keys(providers: Iterable[str]) -> list[str]:
    """Return the dotted keys of these providers."""
    return [key for name in providers for key in _leaves_of(Provider, f"providers.{name}.")]


def all_keys(providers: Iterable[str]) -> list[str]:
    """Return every dotted key that there is with these providers."""
    return [*leaf_keys(), *provider_keys(providers)]


def own_variables(sources: Sources, providers: Iterable[str]) -> dict[str, str]:
    """Return the service's own variables and their keys: `AI_PROVIDER_CACHE_TTL` to `cache.ttl`, the short ones too."""
    return dict(_own_variables(sources.prefix, tuple(sorted(providers))))


@lru_cache(maxsize=8)
def _own_variables(prefix: str, providers: tuple[str, ...]) -> Mapping[str, str]:
    long = {prefix + _capitals(key): key for key in all_keys(providers)}
    return long | {prefix + short: key for short, key in SHORT.items()}


def provider_variables(providers: Iterable[str]) -> dict[str, str]:
    """Return the providers' variables and their keys: `OPENAI_API_KEY` to `providers.openai.api_key`, and so on."""
    fields = [name for name in _provider_leaves() if name not in NOT_SHARED]
    table = {
        f"{_capitals(name)}_{_capitals(field)}": f"providers.{name}.{field}" for name in providers for field in fields
    }
    # An alias stands before its main name, so that the main name wins where both are set.
    return {alias: table[main] for alias, main in ALIASES.items() if main in table} | table


def secret_names(sources: Sources, providers: Iterable[str]) -> dict[str, str]:
    """Return what a docker secret may be called, in capitals, and the keys; `{name}_FILE` names the same elsewhere."""
    return {**own_variables(sources, providers), **sources.common, **PLAIN_SECRETS, **provider_variables(providers)}


def variables_of(key: str, names: Mapping[str, str]) -> list[str]:
    """Return the names of a table that set this key."""
    return [name for name, its in names.items() if its == key]


def is_table(key: str) -> bool:
    """Say whether a dotted key is a table of open names, which is merged whole."""
    parts = key.split(".")
    return key in OPEN_TABLES or (
        parts[0] == "providers" and len(parts) == PROVIDER_LEAF_DEPTH and parts[2] == "prices"
    )


def table_of(key: str) -> str | None:
    """Return the table of open names that a dotted key is an entry of, None for any other key."""
    parts = key.split(".")
    heads = (".".join(parts[:length]) for length in range(1, len(parts)))
    return next((head for head in heads if is_table(head)), None)


def is_list(key: str) -> bool:
    """Say whether a key holds a list, which a variable gives with commas."""
    parts = key.split(".")
    return key == ENABLED or (parts[0] == "providers" and len(parts) == PROVIDER_LEAF_DEPTH and parts[2] == "models")


@cache
def _provider_leaves() -> tuple[str, ...]:
    """Return a provider's fields, those of its own sections with dots: `limits.concurrency`."""
    return tuple(key.removeprefix(".") for key in _leaves_of(Provider, "."))


def _capitals(key: str) -> str:
    return key.upper().replace(".", "_").replace("-", "_")
