"""Layers in, frozen settings out: merge, validate, say all faults at once.

A pure function of what it is given, so that a reload can build, judge and drop a candidate without a trace.
"""

from __future__ import annotations

import difflib
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr, ValidationError

from infrastructure.core.config_core import layers
from infrastructure.core.config_core.settings import Environment, Provider, ProviderKind, Settings
from infrastructure.core.error_core import ConfigError

REPOSITORY_CONFIG = Path(__file__).resolve().parents[3] / "config"
SANDBOX_PRICES = {
    "sandbox-small": {"input": 0.15, "output": 0.60},
    "sandbox-large": {"input": 2.50, "output": 10.0},
    "sandbox-claude": {"input": 1.0, "output": 5.0},
}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and for each dotted key the layer its value came from."""

    settings: Settings
    origins: Mapping[str, str]


def load(
    environ: Mapping[str, str] | None = None,
    *,
    config_dir: Path | None = None,
    secrets_dir: Path = Path("/run/secrets"),
) -> Loaded:
    """Read all layers and build the settings.

    Raises:
        ConfigError: with every fault found, one sentence each.
    """
    environ = os.environ if environ is None else environ
    problems: list[str] = []
    environment = _environment(environ, problems)
    folder = (config_dir or Path(environ.get("CONFIG_DIR") or REPOSITORY_CONFIG)) / "ai-provider"
    flat: layers.Flat = {}
    for name in ("default", environment.value, "ai-provider"):
        flat |= layers.read_file(folder / f"{name}.yml", problems)
    keys = [key.split(".") for key in flat]
    providers = {parts[1] for parts in keys if parts[0] == "providers" and len(parts) >= layers.PROVIDER_LEAF_DEPTH}
    flat |= layers.read_variables(environ, providers, problems)
    flat |= layers.read_secrets(environ, secrets_dir, providers, problems)
    flat |= layers.read_common(environ)
    settings = build(flat, environment, problems)
    return Loaded(settings, {key: origin for key, (_, origin) in flat.items()})


def build(flat: layers.Flat, environment: Environment, problems: list[str]) -> Settings:
    """Return settings from merged leaves.

    Raises:
        ConfigError: if `problems` is not empty or the values break a rule.
    """
    tree = _nest(flat)
    tree["environment"] = environment
    providers = tree.get("providers", {})
    if isinstance(providers, dict):
        tree["enabled"] = _names(providers.pop("enabled", ()))
        for name in tree["enabled"]:
            if name not in providers:
                near = difflib.get_close_matches(name, providers, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                problems.append(f"providers.enabled: no provider {name!r} is configured{hint}")
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as exc:
        problems += [_sentence(error, flat) for error in exc.errors(include_url=False, include_input=False)]
        raise ConfigError(problems) from None
    if problems:
        raise ConfigError(problems)
    settings = _with_sandbox(settings)
    return settings.model_copy(update={"version": fingerprint(settings)})


def fingerprint(settings: Settings) -> str:
    """Return the configuration's hash: 12 hex digits over every value, secrets included but not recoverable."""

    def reveal(value: object) -> object:
        if isinstance(value, SecretStr):
            return hashlib.sha256(value.get_secret_value().encode()).hexdigest()
        raise TypeError

    plain = settings.model_dump(exclude={"version"})
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


def _environment(environ: Mapping[str, str], problems: list[str]) -> Environment:
    name = environ.get("INFRASTRUCTURE_ENV") or "development"
    try:
        return Environment(name)
    except ValueError:
        choices = ", ".join(Environment)
        problems.append(f"variable INFRASTRUCTURE_ENV: expected one of {choices}, got {name!r}")
        return Environment.DEVELOPMENT


def _nest(flat: layers.Flat) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, (value, _) in flat.items():
        node, parts = tree, path.split(".")
        for part in parts[:-1]:
            child = node.setdefault(part, {})
            node = child if isinstance(child, dict) else {}
        node[parts[-1]] = value
    return tree


def _names(value: object) -> object:
    if isinstance(value, str):
        return tuple(name.strip() for name in value.split(",") if name.strip())
    return tuple(value) if isinstance(value, (list, tuple)) else value


def _sentence(error: Any, flat: layers.Flat) -> str:
    """Say one fault with its key and layer, and for an unknown key the nearest known one; never with the value."""
    parts = [str(part) for part in error["loc"]]
    key = ".".join(["providers.enabled", *parts[1:]] if parts[0] == "enabled" else parts)
    origin = next((where for path, (_, where) in flat.items() if key == path or key.startswith(f"{path}.")), "")
    if error["type"] == "extra_forbidden":
        known = [*layers.leaf_keys(), *Settings.model_fields]
        if parts[0] == "providers" and len(parts) == layers.PROVIDER_LEAF_DEPTH:
            known = [f"providers.{parts[1]}.{field}" for field in Provider.model_fields]
        near = difflib.get_close_matches(key, known, 1)
        text = "no such setting" + (f"; did you mean {near[0]}?" if near else "")
    else:
        text = error["msg"]
    return f"{key}: {text}" + (f" ({origin})" if origin else "")
