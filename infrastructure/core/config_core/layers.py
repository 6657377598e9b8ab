"""The layers of the configuration above the files, each a flat table: dotted key to value, with where it came from.

Lowest to highest: built-in, default.yml, {environment}.yml, {service}.yml, `AI_PROVIDER_*` and provider variables, docker
secrets (`/run/secrets/*` and `*_FILE`), common variables (`REDIS_URL`, `LOG_LEVEL`), what `set` was told in the process.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from infrastructure.core.config_core.faults import Fault, did_you_mean
from infrastructure.core.config_core.names import is_list, is_table, own_variables, provider_variables, secret_names
from infrastructure.core.config_core.sources import Sources

CLIENT_VARIABLES = frozenset({"AI_PROVIDER_URL", "AI_PROVIDER_API_KEY"})  # read by the command line as a client
MAX_SECRET_BYTES = 65_536
FILE_SUFFIX = "_FILE"
Flat = dict[str, tuple[Any, str]]


def flatten(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested mappings as (dotted key, value); model and price names may hold dots themselves."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value and not is_table(path):
            yield from flatten(value, f"{path}.")
        else:
            yield path, value


def of_tree(tree: Mapping[Any, Any], origin: str, problems: list[str]) -> Flat:
    """Return a file's leaves; a key that is said twice, once nested and once with dots, is a fault."""
    flat: Flat = {}
    for key, value in flatten(tree):
        if key in flat:
            problems.append(Fault("stands twice", key=key, layer=origin))
        flat[key] = (value, origin)
    return flat


def read_variables(sources: Sources, providers: Iterable[str], problems: list[str]) -> Flat:
    """Return what the service's and the providers' own variables say; an unknown one with our prefix is a fault."""
    names = own_variables(sources, providers)
    flat: Flat = {}
    for variable, value in sources.variables().items():
        if not variable.startswith(sources.prefix) or not value.strip() or variable in CLIENT_VARIABLES:
            continue
        if variable in names:
            _put(flat, names[variable], value, f"variable {variable}", problems)
        elif variable.removesuffix(FILE_SUFFIX) not in names:
            problems.append(Fault(f"no such setting{did_you_mean(variable, names)}", key=variable, layer="variable"))
    for variable, key in provider_variables(providers).items():
        if value := sources.environ.get(variable, "").strip():
            _put(flat, key, value, f"variable {variable}", problems)
    return flat


def read_common(sources: Sources, problems: list[str]) -> Flat:
    """Return what the variables that many programs share say."""
    flat: Flat = {}
    for variable, key in sources.common.items():
        if value := sources.environ.get(variable, ""):
            _put(flat, key, value, f"variable {variable}", problems)
    return flat


def read_secrets(sources: Sources, providers: Iterable[str], problems: list[str]) -> Flat:
    """Return what docker secrets say: files in the folder named like the variables in small letters, and `*_FILE`.

    Links may point anywhere: that is how Kubernetes mounts secrets. One that leads nowhere is a fault.
    """
    names, flat = secret_names(sources, providers), Flat()
    found = _entries(sources.secrets_dir, problems)
    for name, key in names.items():
        if name.lower() in found:
            _put_secret(flat, key, sources.secrets_dir / name.lower(), problems)
        if given := sources.environ.get(name + FILE_SUFFIX):
            _put_secret(flat, key, Path(given), problems)
    for name in sorted(found):  # the others in the folder are other programs'
        if name.startswith(sources.prefix.lower()) and name.upper() not in names:
            hint = did_you_mean(name, [known.lower() for known in names])
            problems.append(Fault(f"no such secret{hint}", key=name, layer=f"secret {sources.secrets_dir}"))
    return flat


def _put(flat: Flat, key: str, text: str, origin: str, problems: list[str]) -> None:
    """Put a variable's text under its key: lists with commas, tables as JSON."""
    value: Any = text
    if is_list(key):
        value = [part.strip() for part in text.split(",") if part.strip()]
    elif is_table(key):
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError:
            problems.append(Fault("expected a JSON object", key=key, layer=origin))
            return
    flat[key] = (value, origin)


def _put_secret(flat: Flat, key: str, path: Path, problems: list[str]) -> None:
    origin = f"secret {path}"
    try:
        with path.open("rb") as file:
            text = file.read(MAX_SECRET_BYTES + 1).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(Fault(f"the secret cannot be read: {type(exc).__name__}", key=key, layer=origin))
        return
    if not text or len(text) > MAX_SECRET_BYTES:
        what = f"longer than {MAX_SECRET_BYTES} bytes" if text else "empty"
        problems.append(Fault(f"expected a secret, found a file that is {what}", key=key, layer=origin))
        return
    _put(flat, key, text, origin, problems)


def _entries(folder: Path, problems: list[str]) -> set[str]:
    """Return the names in the folder of secrets; most machines have none."""
    try:
        return {entry.name for entry in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()
    except OSError as exc:
        problems.append(Fault(f"the secrets cannot be listed: {exc.strerror}", layer=f"secret {folder}"))
        return set()
