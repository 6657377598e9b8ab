"""One YAML file of the configuration: its bytes read, judged and turned into a tree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from infrastructure.core.config_core.reading import NotRegular, read_regular

MAX_FILE_BYTES = 1_048_576
BOM = b"\xef\xbb\xbf"
FLAT = 1_000
"""A file with no longer lines and no more brackets cannot be nested much deeper than twice this."""

_QUOTED = re.compile(r"\b(alias|anchor|tag|tag handle)\s+['\"].*", re.DOTALL)
"""Where PyYAML repeats a value: a password that begins with `*`, `&` or `!` and has no quotes is one of these to it."""


class NotSettings(ValueError):
    """What stands at a path holds no settings; says why, and at which dotted key where it is one key's fault."""

    def __init__(self, text: str, *, code: str = "unreadable", key: str = "") -> None:
        super().__init__(text)
        self.code, self.key = code, key


SafeLoader = yaml.SafeLoader
"""Reads whatever it is given; what is nested too deep ends in a RecursionError."""
FastLoader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Nine times as fast where PyYAML has libyaml, and it crashes the process on what is nested too deep."""
_Path = tuple[Any, ...] | None
"""The way to a node from below: (the way to its parent, its key); None for the whole."""


def read_bytes(path: Path) -> bytes | None:
    """Return what a file holds, None when there is none.

    Raises:
        NotSettings: it is no file, too large, or cannot be read.
    """
    try:
        content = read_regular(path, MAX_FILE_BYTES + 1)
    except NotRegular:
        raise NotSettings("expected a file, found something else") from None
    except FileNotFoundError:
        if path.is_symlink():
            raise NotSettings("expected a file, found a link that leads nowhere") from None
        return None
    except IsADirectoryError:
        raise NotSettings("expected a file, found a folder") from None
    except OSError as exc:
        raise NotSettings(f"cannot be read: {exc.strerror}") from None
    if len(content) > MAX_FILE_BYTES:
        raise NotSettings(f"expected at most {MAX_FILE_BYTES} bytes, got more")
    return content


@lru_cache(maxsize=16)
def parse(content: bytes) -> dict[Any, Any]:
    """Return the mapping that a file's content is; empty content is an empty one. It is shared: nobody may change it.

    Raises:
        NotSettings: not UTF-8, not YAML, more than one document, an alias, a doubled key, or no mapping.
    """
    if content.startswith(BOM):
        raise NotSettings("expected UTF-8 without a byte order mark, found one", code="not_yaml")
    if b"\0" in content:
        raise NotSettings("expected text, found a NUL byte: not valid YAML", code="not_yaml")
    try:
        tree = _load(content.decode("utf-8"))
    except UnicodeDecodeError as exc:
        raise NotSettings(f"expected UTF-8 text, found another byte at {exc.start}", code="not_yaml") from None
    except NotSettings:
        raise
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as exc:
        raise NotSettings(f"not valid YAML: {_said(exc)}", code="not_yaml") from None
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise NotSettings(f"expected keys and values, got a {type(tree).__name__}", code="not_yaml")
    return tree


def _load(text: str) -> Any:
    """Return the only document, made by the fast loader where no nesting can be deep."""
    lines, brackets = text.splitlines(), text.count("[") + text.count("{")
    is_flat = brackets <= FLAT and max(map(len, lines), default=0) <= FLAT
    loader = FastLoader(text) if is_flat else SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_aliases(node)
        _refuse_doubles(node, loader)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_aliases(root: Any) -> None:
    """Refuse a node that stands in two places: a small file of aliases can expand to gigabytes."""
    seen: set[int] = set()
    nodes = [root]
    while nodes:
        node = nodes.pop()
        if id(node) in seen:
            raise yaml.YAMLError(f"aliases are not allowed (line {node.start_mark.line + 1})")
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            nodes += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            nodes += node.value


def _refuse_doubles(root: Any, loader: Any) -> None:
    """Refuse a key that stands twice in one mapping: which of the two was meant, nobody knows."""
    nodes: list[tuple[Any, _Path]] = [(root, None)]
    while nodes:
        node, path = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            seen: set[Any] = set()
            for key_node, value in node.value:
                key = loader.construct_object(key_node, deep=True)
                if key in seen:
                    text = f"stands twice (line {key_node.start_mark.line + 1})"
                    raise NotSettings(text, code="doubled", key=_dotted((path, key)))
                seen.add(key)
                nodes.append((value, (path, key)))
        elif isinstance(node, yaml.SequenceNode):
            nodes += [(value, (path, place)) for place, value in enumerate(node.value)]


def _dotted(path: _Path) -> str:
    parts = []
    while path is not None:
        path, key = path
        parts.append(str(key))
    return ".".join(reversed(parts))


def _said(exc: Exception) -> str:
    """Return what is wrong and where, without the lines that PyYAML quotes: they may hold a secret."""
    if isinstance(exc, yaml.MarkedYAMLError) and exc.problem_mark is not None:
        problem = _QUOTED.sub(r"\1", str(exc.problem))
        return f"{problem} (line {exc.problem_mark.line + 1}, column {exc.problem_mark.column + 1})"[:200]
    return " ".join(str(exc).split())[:200] if isinstance(exc, yaml.YAMLError) else type(exc).__name__


def deep_paths(tree: Any, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of every leaf in the order of the file, lists' places included; an empty value is no leaf."""
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from deep_paths(value, (*prefix, str(key)))
    elif isinstance(tree, list) and tree:
        for place, value in enumerate(tree):
            yield from deep_paths(value, (*prefix, str(place)))
    elif tree is not None and prefix:
        yield prefix
