"""Rules that span several keys, judged on the merged tree so that all faults are told at once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from infrastructure.core.config_core.faults import Fault, did_you_mean
from infrastructure.core.config_core.names import ENABLED, INNER
from infrastructure.core.config_core.sources import SERVICE

MAX_KEY_CHARACTERS = 4_096
SANDBOX = "sandbox"
_PROVIDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_PLACEHOLDER = re.compile(
    r"(?i)change[-_ ]?me|your[-_ ].*key.*|.*your[-_]api[-_]key.*|<.*>|\$\{?\w+\}?|(sk-)?(x{3,}|\.{3,}|…)|todo"
)
_MARKS = {"anthropic": re.compile(r"sk-ant-"), "google": re.compile(r"AIza[\w-]{35}$")}
"""Beginnings of keys that say for certain whose they are."""


def faults(tree: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Fault]:
    """Yield what breaks a rule; a value of the wrong type is passed over, its field tells of it.

    Rules: only keys of a file stand in a file; at least one provider is enabled, and each enabled one is configured; the
    API key of an enabled provider can be one; a provider's name can stand before a `/` and in a variable of its own; a
    logical model has candidates, `provider/model` of known providers.
    """
    providers = tree.get("providers")
    providers = providers if isinstance(providers, dict) else {}
    for name in sorted(INNER & tree.keys()):
        hint = {"enabled": f"; did you mean {ENABLED}?", "environment": "; it is the variable INFRASTRUCTURE_ENV"}
        yield Fault(f"no such setting{hint.get(name, '')}", key=name, layer=origins.get(name, ""), code="unknown")
    yield from _provider_names(providers, origins)
    yield from _enabled(providers, origins)
    yield from _candidates(tree.get("models"), providers, origins.get("models", ""))


def _provider_names(providers: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Fault]:
    taken: dict[str, str] = {_capitals(SERVICE): SERVICE}
    for name in (name for name in map(str, providers) if name != "enabled"):
        key = f"providers.{name}"
        layer = next((where for path, where in origins.items() if path == key or path.startswith(f"{key}.")), "")
        if not _PROVIDER.fullmatch(name):
            yield Fault("expected a name of letters, digits, - and _", key=key, layer=layer)
        elif other := taken.get(_capitals(name)):
            yield Fault(f"its variables would be those of {other}; expected another name", key=key, layer=layer)
        taken[_capitals(name)] = name


def _capitals(name: str) -> str:
    return name.upper().replace("-", "_")


def _enabled(providers: Mapping[str, Any], origins: Mapping[str, str]) -> Iterator[Fault]:
    names, layer = providers.get("enabled"), origins.get(ENABLED, "")
    if not isinstance(names, (list, tuple)):
        return
    if not names:
        yield Fault("expected at least one provider, got none", key=ENABLED, layer=layer)
    for name in names:
        if name not in providers or name == "enabled":
            yield Fault(
                f"no provider {name!r} is configured{did_you_mean(str(name), providers)}", key=ENABLED, layer=layer
            )
        elif isinstance(providers[name], dict) and (fault := _key_fault(providers[name])):
            key = f"providers.{name}.api_key"
            yield Fault(fault, key=key, layer=origins.get(key, ""))


def _key_fault(provider: Mapping[str, Any]) -> str | None:
    """Say why a provider's API key cannot be one, as far as that is known without a call; never with the key."""
    key = provider.get("api_key")
    if not isinstance(key, str):
        return None
    if not _SENDABLE.fullmatch(key) or len(key) > MAX_KEY_CHARACTERS:
        return f"expected 1 to {MAX_KEY_CHARACTERS} printable characters without spaces, as a header can carry them"
    if key[0] in "\"'" or _PLACEHOLDER.fullmatch(key):
        return "expected an API key, got a placeholder or a quoted one"
    kind = provider.get("kind", "openai")
    whose = next((name for name, mark in _MARKS.items() if mark.match(key)), kind)
    if whose != kind and not provider.get("base_url"):
        return f"expected a key of {kind}, got one that begins as those of {whose} do"
    return None


def _candidates(models: Any, providers: Mapping[str, Any], layer: str) -> Iterator[Fault]:
    for model, entries in models.items() if isinstance(models, dict) else ():
        if entries in ([], ()):
            yield Fault("expected at least one candidate, got none", key=f"models.{model}", layer=layer)
        for entry in entries if isinstance(entries, (list, tuple)) else ():
            provider, _, name = str(entry).partition("/")
            if not name or any(map(str.isspace, str(entry))):
                yield Fault(f"expected provider/model, got {entry!r}", key=f"models.{model}", layer=layer)
            elif provider not in providers and not provider.startswith(SANDBOX):
                hint = did_you_mean(provider, providers)
                yield Fault(f"no provider {provider!r} is configured{hint}", key=f"models.{model}", layer=layer)
