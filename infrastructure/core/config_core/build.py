"""Layers in, frozen settings out: merge, validate, say all faults at once.

A pure function of what it is given, so that a reload can build, judge and drop a candidate without a trace.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr, ValidationError

from infrastructure.base.base_config import Environment
from infrastructure.core.config_core import rules, texts
from infrastructure.core.config_core.faults import Fault, did_you_mean
from infrastructure.core.config_core.merge import File, Merged, Said, read_all
from infrastructure.core.config_core.names import PROVIDER_LEAF_DEPTH, all_keys, provider_keys
from infrastructure.core.config_core.settings import Provider, ProviderKind, Settings
from infrastructure.core.config_core.sources import SECRETS, Sources
from infrastructure.core.error_core import ConfigError

ENVIRONMENT = "environment"
SANDBOX_PRICES = {
    "sandbox-small": {"input": 0.15, "output": 0.60},
    "sandbox-large": {"input": 2.50, "output": 10.0},
    "sandbox-claude": {"input": 1.0, "output": 5.0},
}

_EXPECTED = {
    "greater_than_equal": "expected at least {ge}", "greater_than": "expected more than {gt}",
    "less_than_equal": "expected at most {le}", "less_than": "expected less than {lt}",
    "string_pattern_mismatch": "expected a text that matches {pattern}",
    "string_too_long": "expected at most {max_length} characters", "string_too_short": "expected at least {min_length} characters",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each dotted key the layer its value came from; `said` has what every layer said of it."""

    settings: Settings
    origins: Mapping[str, str]
    said: Mapping[str, tuple[Said, ...]] = field(default_factory=dict)
    files: Mapping[Path, File] = field(default_factory=dict, repr=False)


def load(
    environ: Mapping[str, str] | None = None,
    *,
    config_dir: Path | None = None,
    secrets_dir: Path = SECRETS,
) -> Loaded:
    """Read all layers and build the settings.

    Raises:
        ConfigError: with every fault found, one sentence each.
    """
    sources = Sources(
        environ=os.environ if environ is None else environ, config_dir=config_dir, secrets_dir=secrets_dir
    )
    return load_from(sources)


def load_from(sources: Sources, *, before: Mapping[Path, File] | None = None) -> Loaded:
    """Read the layers of these sources; `before` are the files that a reload compares with, see `whole`.

    Raises:
        ConfigError: with every fault found, one sentence each.
    """
    problems: list[str] = []
    return loaded_of(read_all(sources, problems, before), problems)


def loaded_of(merged: Merged, problems: list[str]) -> Loaded:
    """Return what these layers make.

    Raises:
        ConfigError: `problems` is not empty, or the values break a rule.
    """
    origins, said = merged.origins, merged.said
    settings = build(merged, problems)
    if where := merged.environment_from:
        said = {ENVIRONMENT: ((merged.environment.value, where),), **said}
        origins = {ENVIRONMENT: where, **origins}
    return Loaded(settings, origins, said, merged.files)


def build(merged: Merged, problems: list[str]) -> Settings:
    """Return settings from merged layers.

    Raises:
        ConfigError: if `problems` is not empty or the values break a rule.
    """
    if merged.unread:
        raise ConfigError(problems)
    tree, origins = merged.tree(), merged.origins
    providers = tree.get("providers")
    if isinstance(providers, dict) and "enabled" in providers:
        providers["enabled"] = _names(providers["enabled"])
    problems += rules.faults(tree, origins)
    problems += texts.faults(merged.flat)
    if isinstance(providers, dict):
        tree["enabled"] = providers.pop("enabled", ())
    tree["environment"] = merged.environment
    tree.pop("version", None)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as exc:
        problems += [_sentence(error, origins) for error in exc.errors(include_url=False, include_input=False)]
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    settings = _with_sandbox(settings)
    return settings.model_copy(update={"version": fingerprint(settings)})


def fingerprint(settings: Settings) -> str:
    """Return the configuration's hash: 12 hex digits over every value, secrets included but not recoverable.

    But for `service.id`: by that alone the processes of one fleet differ, and they are to agree on what a job runs under.
    """

    def reveal(value: object) -> object:
        if isinstance(value, SecretStr):
            return hashlib.sha256(value.get_secret_value().encode()).hexdigest()
        raise TypeError

    plain = settings.model_dump(exclude={"version": True, "service": {"id"}})
    return hashlib.sha256(orjson.dumps(plain, reveal, orjson.OPT_SORT_KEYS)).hexdigest()[:12]


def sandbox_wanted(settings: Settings) -> bool:
    """Say whether the sandbox takes the place of the providers that are missing."""
    if settings.sandbox.mode == "auto":
        real = [name for name in settings.in_use() if not name.startswith("sandbox")]
        return settings.environment is not Environment.PRODUCTION and not real
    return settings.sandbox.mode == "on"


def _with_sandbox(settings: Settings) -> Settings:
    """Add the sandbox's two accounts where one runs and is wanted."""
    url = settings.sandbox.url
    if url is None or not sandbox_wanted(settings):
        return settings
    key, base = SecretStr("no-key-is-needed-here"), url.rstrip("/")
    accounts = {
        "sandbox": Provider.model_validate(
            {"api_key": key, "base_url": f"{base}/v1", "models": ["sandbox-*"], "prices": SANDBOX_PRICES}
        ),
        "sandbox-anthropic": Provider.model_validate(
            {"kind": ProviderKind.ANTHROPIC, "api_key": key, "base_url": base, "prices": SANDBOX_PRICES, "priority": 2}
        ),
    }
    accounts = {name: settings.providers.get(name, account) for name, account in accounts.items()}
    enabled = settings.enabled + tuple(name for name in accounts if name not in settings.enabled)
    return settings.model_copy(update={"providers": {**settings.providers, **accounts}, "enabled": enabled})


def _names(value: object) -> object:
    """Return a list's names; a text holds them with commas, as a variable does."""
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _sentence(error: Any, origins: Mapping[str, str]) -> Fault:
    """Say one fault with its key and layer, and for an unknown key the nearest known one; never with the value."""
    parts = [str(part) for part in error["loc"]]
    key = ".".join(["providers.enabled", *parts[1:]] if parts[0] == "enabled" else parts)
    if error["type"] == "crossed":
        key, other = (f"{key}.{error['ctx'][name]}" for name in ("field", "other"))
        return Fault(error["msg"], key=key, layer=origins.get(key) or origins.get(other, ""), code="contradiction")
    layer = origins.get(key) or next((where for path, where in origins.items() if _within(key, path)), "")
    if error["type"] != "extra_forbidden":
        return Fault(_expected(error), key=key, layer=layer, code=error["type"])
    known = [*all_keys([]), *Settings.model_fields]
    if parts[0] == "providers" and len(parts) >= PROVIDER_LEAF_DEPTH:
        known = provider_keys([parts[1]])
    return Fault(f"no such setting{did_you_mean(key, known)}", key=key, layer=layer, code="unknown")


def _expected(error: Any) -> str:
    """Say what was expected; pydantic's own words where there are none of ours."""
    if words := _EXPECTED.get(error["type"]):
        return words.format_map(error["ctx"])
    return str(error["msg"]).replace("Input should be", "expected", 1)


def _within(key: str, path: str) -> bool:
    """Say whether one of the two keys is part of the other's section."""
    return key == path or key.startswith(f"{path}.") or path.startswith(f"{key}.")
