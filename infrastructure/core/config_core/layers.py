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
from infrastructure.core.config_core.names import (
    is_list,
    is_table,
    own_variables,
    provider_variables,
    secret_names,
    table_of,
)
from infrastructure.core.config_core.reading import NotRegular, read_regular
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
    """Return a file's leaves; a key that is said twice, once nested and once with dots, or leads into a table, is a fault."""
    flat: Flat = {}
    for key, value in flatten(tree):
        if key in flat:
            problems.append(Fault("stands twice", key=key, layer=origin, code="doubled"))
        if table := table_of(key):
            fault = f"is an entry of the table {table}, which is written as one mapping and replaces the one below it"
            problems.append(Fault(fault, key=key, layer=origin))
            continue
        flat[key] = (value, origin)
    return flat


def read_variables(sources: Sources, providers: Iterable[str], problems: list[str]) -> Flat:
    """Return what the service's and the providers' own variables say; an unknown one with our prefix is a fault."""
    names, said = own_variables(sources, providers), sources.variables()
    for variable, value in said.items():
        known = variable in names or variable.removesuffix(FILE_SUFFIX) in names or variable in CLIENT_VARIABLES
        if variable.startswith(sources.prefix) and value.strip() and not known:
            text = f"no such setting{did_you_mean(variable, names)}"
            problems.append(Fault(text, key=variable, layer="variable", code="unknown"))
    # In the order of the tables, not of the environment: of two names for one key always the same one wins.
    return _of_variables(said, {**names, **provider_variables(providers)}, problems)


def read_common(sources: Sources, problems: list[str]) -> Flat:
    """Return what the variables that many programs share say."""
    return _of_variables(sources.environ, sources.common, problems)


def read_secrets(sources: Sources, providers: Iterable[str], problems: list[str]) -> Flat:
    """Return what docker secrets say: files in the folder named like the variables, and `*_FILE`.

    Links may point anywhere: that is how Kubernetes mounts secrets. One that leads nowhere is a fault.
    """
    names, flat = secret_names(sources, providers), Flat()
    found = _entries(sources.secrets_dir, problems)
    for name, key in names.items():
        if name.lower() in found:
            _put_secret(flat, key, sources.secrets_dir / found[name.lower()], problems)
        if given := sources.environ.get(name + FILE_SUFFIX, "").strip():
            _put_secret(flat, key, Path(given), problems)
    for name in sorted(found):  # the others in the folder are other programs'
        if name.startswith(sources.prefix.lower()) and name.upper() not in names:
            hint = did_you_mean(name, [known.lower() for known in names])
            problems.append(
                Fault(f"no such secret{hint}", key=name, layer=f"secret {sources.secrets_dir}", code="unknown")
            )
    return flat


def _of_variables(said: Mapping[str, str], names: Mapping[str, str], problems: list[str]) -> Flat:
    """Return what these variables say; one that holds nothing, or blanks, says nothing."""
    flat: Flat = {}
    for variable, key in names.items():
        if variable not in CLIENT_VARIABLES and (value := said.get(variable, "").strip()):
            _put(flat, key, value, f"variable {variable}", problems)
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
        text = read_regular(path, MAX_SECRET_BYTES + 1).decode("utf-8").strip()
    except (OSError, UnicodeDecodeError, NotRegular) as exc:
        problems.append(
            Fault(f"the secret cannot be read: {type(exc).__name__}", key=key, layer=origin, code="unreadable")
        )
        return
    if not text or len(text) > MAX_SECRET_BYTES:
        what = f"longer than {MAX_SECRET_BYTES} bytes" if text else "empty"
        problems.append(Fault(f"expected a secret, found a file that is {what}", key=key, layer=origin))
        return
    _put(flat, key, text, origin, problems)


def _entries(folder: Path, problems: list[str]) -> dict[str, str]:
    """Return the names in the folder of secrets, by what they are in small letters; most machines have no such folder."""
    try:
        return {entry.name.lower(): entry.name for entry in sorted(folder.iterdir())}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as exc:
        problems.append(
            Fault(f"the secrets cannot be listed: {exc.strerror}", layer=f"secret {folder}", code="unreadable")
        )
        return {}
