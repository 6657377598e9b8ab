"""The layers of the configuration, each read into one flat table: dotted key to value, with where it came from.

Lowest to highest: default.yml, {environment}.yml, {service}.yml, `AI_PROVIDER_*` and provider variables, docker secrets
(`/run/secrets/*` and `*_FILE`), common variables (`REDIS_URL`, `LOG_LEVEL`).
"""

from __future__ import annotations

import difflib
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from infrastructure.core.config_core.settings import Provider, Settings

PREFIX = "AI_PROVIDER_"
CLIENT_VARIABLES = frozenset({"AI_PROVIDER_URL", "AI_PROVIDER_API_KEY"})  # read by the command line as a client
COMMON = {"REDIS_URL": "redis.url", "LOG_LEVEL": "logging.level"}
SHORT = {"PORT": "service.port", "HOST": "service.host", "DATA_DIR": "service.data_dir", "LOG_LEVEL": "logging.level",
         "LOG_FORMAT": "logging.format", "HMAC_SECRET": "service.hmac_secret"}  # fmt: skip
ALIASES = {"GEMINI_API_KEY": "GOOGLE_API_KEY"}
MAX_FILE_BYTES = 1_048_576
PROVIDER_LEAF_DEPTH = 3  # providers.{name}.{field}
Flat = dict[str, tuple[Any, str]]


class UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader without aliases (no bombs) and with repeated keys refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias: a small file of aliases can expand to gigabytes."""
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.YAMLError(f"line {event.start_mark.line + 1}: aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that stands twice in one mapping."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise yaml.YAMLError(f"line {key_node.start_mark.line + 1}: key {key!r} stands twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_file(path: Path, problems: list[str]) -> Flat:
    """Return one YAML file's leaves; a fault is added to `problems` with the file's name. A missing file is empty."""
    try:
        tree = _parse(path)
    except FileNotFoundError:
        if path.is_symlink():
            problems.append(f"{path}: expected a file, found a link that leads nowhere")
        return {}
    except OSError as exc:
        problems.append(f"{path}: cannot be read: {exc.strerror}")
        return {}
    except _NotSettings as exc:
        problems.append(f"{path}: {exc}")
        return {}
    return {key: (value, str(path)) for key, value in flatten(tree)}


class _NotSettings(ValueError):
    """What a file holds is not a mapping in YAML; says what it is instead."""


def _parse(path: Path) -> dict[Any, Any]:
    info = path.stat()
    if not stat.S_ISREG(info.st_mode):
        raise _NotSettings("expected a file, found something else")
    if info.st_size > MAX_FILE_BYTES:
        raise _NotSettings(f"expected at most {MAX_FILE_BYTES} bytes, got {info.st_size}")
    try:
        tree = yaml.load(path.read_text("utf-8"), UniqueKeyLoader)  # noqa: S506  a SafeLoader
    except UnicodeDecodeError:
        raise _NotSettings("expected UTF-8 text") from None
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as exc:
        raise _NotSettings(f"not valid YAML: {' '.join(str(exc).split())[:200]}") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise _NotSettings(f"expected keys and values, got a {type(tree).__name__}")
    return tree


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the leaves of nested mappings as (dotted key, value); model and price names may hold dots themselves."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and not _is_open_table(path):
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def _is_open_table(path: str) -> bool:
    """Tables whose keys are names of the world outside are leaves: merged whole."""
    parts = path.split(".")
    return path == "models" or (parts[0] == "providers" and len(parts) == PROVIDER_LEAF_DEPTH and parts[2] == "prices")


def read_variables(environ: Mapping[str, str], providers: Iterable[str], problems: list[str]) -> Flat:
    """Return what `AI_PROVIDER_*` and the providers' own variables say; an unknown prefixed one is a fault."""
    names = {**{_variable(key): key for key in leaf_keys()}, **{PREFIX + k: v for k, v in SHORT.items()}}
    flat: Flat = {}
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or not value.strip() or variable in CLIENT_VARIABLES:
            continue
        plain = variable.removesuffix("_FILE")
        if variable in names:
            flat[names[variable]] = (value, f"variable {variable}")
        elif plain not in names:
            near = difflib.get_close_matches(variable, names, 1)
            problems.append(f"{variable}: no such setting" + (f"; did you mean {near[0]}?" if near else ""))
    for variable, key in provider_variables(providers).items():
        if value := environ.get(variable, "").strip():
            flat[key] = (value, f"variable {variable}")
    return flat


def read_secrets(environ: Mapping[str, str], folder: Path, providers: Iterable[str], problems: list[str]) -> Flat:
    """Return what docker secrets say: files in `folder` named like the variables, in small letters, and `*_FILE`."""
    names = {**{_variable(key): key for key in leaf_keys()}, **{PREFIX + k: v for k, v in SHORT.items()}, **COMMON,
             "HMAC_SECRET": "service.hmac_secret", **provider_variables(providers)}  # fmt: skip
    flat: Flat = {}
    for variable, key in names.items():
        named = environ.get(f"{variable}_FILE", "")
        paths = [folder / variable.lower()] if (folder / variable.lower()).is_file() else []
        for path in [*paths, *([Path(named)] if named else [])]:
            if text := _read_secret(path, variable, problems):
                flat[key] = (text, f"secret {path}")
    return flat


def _read_secret(path: Path, variable: str, problems: list[str]) -> str:
    """Return a secret's text; an empty file is no secret, one that cannot be read is a fault."""
    try:
        if not stat.S_ISREG(path.stat().st_mode) or path.stat().st_size > MAX_FILE_BYTES:
            problems.append(f"{path}: expected the secret for {variable} to be a small file")
            return ""
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"{path}: the secret for {variable} cannot be read: {type(exc).__name__}")
        return ""


def read_common(environ: Mapping[str, str]) -> Flat:
    """Return what the variables that many programs share say."""
    return {key: (value, f"variable {name}") for name, key in COMMON.items() if (value := environ.get(name, ""))}


def provider_variables(providers: Iterable[str]) -> dict[str, str]:
    """Return the providers' variables and their keys: `OPENAI_API_KEY` to `providers.openai.api_key`, and so on."""
    fields = [name for name in Provider.model_fields if name not in {"prices", "models", "kind"}]
    table = {
        f"{name.upper().replace('-', '_')}_{field.upper()}": f"providers.{name}.{field}"
        for name in providers
        for field in fields
    }
    # An alias stands before its main name, so that the main name wins where both are set.
    return {alias: table[main] for alias, main in ALIASES.items() if main in table} | table


def leaf_keys() -> list[str]:
    """Return every dotted key of a section with fixed fields."""
    keys = []
    for section, info in Settings.model_fields.items():
        fields = getattr(info.annotation, "model_fields", None)
        if fields is not None:
            keys += [f"{section}.{field}" for field in fields]
    return keys


def _variable(key: str) -> str:
    return PREFIX + key.upper().replace(".", "_")
