"""All that is known of one setting, for a person who wonders why it has its value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from infrastructure.core.config_core.build import Loaded
from infrastructure.core.config_core.fixed import is_fixed
from infrastructure.core.config_core.names import (
    is_table,
    own_variables,
    provider_variables,
    secret_names,
    variables_of,
)
from infrastructure.core.config_core.settings import Provider
from infrastructure.core.config_core.sources import Sources
from infrastructure.core.config_core.trees import ABSENT, MASK, find, schema, shown, shown_secret, tree_of

DEFAULT = "default"
_RANGE = {
    "minimum": "at least", "exclusiveMinimum": "more than", "maximum": "at most", "exclusiveMaximum": "less than",
    "minLength": "characters at least", "maxLength": "characters at most", "pattern": "matching",
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A setting: its value and origin, what each layer says of it (lowest first), and what it may be. Secrets are masked."""

    key: str
    value: str
    origin: str
    said: tuple[tuple[str, str], ...]
    meaning: str
    allowed: str
    default: str
    takes_effect: str
    variables: tuple[str, ...]
    secrets: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the same as plain tables."""
        return {**asdict(self), "said": [{"layer": layer, "value": value} for layer, value in self.said]}


def explain_key(key: str, loaded: Loaded, *, sources: Sources | None = None) -> Explanation | None:
    """Return what is known of a dotted key that holds a value; None when there is none of this name."""
    value = find(tree_of(loaded.settings), key)
    if value is ABSENT or (isinstance(value, dict) and not is_table(key)):
        return None
    described = _described(key)
    said = loaded.said[path] if (path := nearest(key, loaded.said)) else ()
    providers, sources = loaded.settings.providers, sources or Sources()
    own = own_variables(sources, providers) | provider_variables(providers)
    names = own | dict(sources.common)
    said = tuple(_with_losers(key, said, sources.variables(), own))
    return Explanation(
        key=key,
        value=shown(key, value),
        origin=said[-1][1] if said else DEFAULT,
        said=tuple((origin, _masked(key, one, described)) for one, origin in said),
        meaning=str(described.get("description", "")),
        allowed=", ".join(_allowed(described)) or "anything",
        default=shown(key, described.get("default")),
        takes_effect="at the next start" if is_fixed(key) else "at a reload",
        variables=tuple(variables_of(key, names)),
        secrets=tuple(name.lower() for name in variables_of(key, secret_names(sources, providers))),
    )


def _with_losers(
    key: str, said: Iterable[tuple[Any, str]], environ: Mapping[str, str], own: Mapping[str, str]
) -> Iterator[tuple[Any, str]]:
    """Yield what the layers say, and before a variable those of its layer that it takes precedence over."""
    for value, origin in said:
        winner = origin.partition(" ")[2] if origin.startswith("variable ") else ""
        if winner in own:
            for name in variables_of(key, own):
                if name != winner and (text := environ.get(name, "").strip()):
                    yield text, f"variable {name} (gives way to {winner})"
        yield value, origin


def nearest(key: str, paths: Iterable[str]) -> str | None:
    """Return the path that says most of a key: its own, or that of the innermost table around it."""
    around = (path for path in paths if key == path or key.startswith(f"{path}."))
    return max(around, key=len, default=None)


def _described(key: str) -> dict[str, Any]:
    """Return a key's part of the schema."""
    whole = schema()
    parts = key.split(".")
    if parts[0] == "providers" and parts[1:] != ["enabled"]:
        found: dict[str, Any] = whole["$defs"][Provider.__name__]
        parts = parts[2:]
    else:
        found = whole
    for part in parts:
        inner = found.get("properties", {}).get(part) or found.get("additionalProperties")
        found = _resolved(inner if isinstance(inner, dict) else {}, whole)
    return found


def _resolved(part: dict[str, Any], whole: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in part:
        return {**whole["$defs"][part["$ref"].rpartition("/")[2]], **part}
    return part


def _allowed(described: Mapping[str, Any]) -> Iterator[str]:
    for one in described.get("anyOf", [described]):
        if "enum" in one:
            yield "one of " + ", ".join(map(str, one["enum"]))
        elif one.get("type") == "null":
            yield "or nothing"
        elif "type" in one:
            yield str(one["type"])
        for word, meaning in _RANGE.items():
            if word in one:
                yield f"{meaning} {one[word]}"


def _masked(key: str, value: Any, described: Mapping[str, Any]) -> str:
    """Return what a layer says; of a secret it is plain text there, so the schema tells that it is one."""
    if any(one.get("format") == "password" for one in described.get("anyOf", [described])):
        return shown_secret(key, value) if isinstance(value, str) else MASK
    return shown(key, value)
