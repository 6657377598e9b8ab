"""Whether a file that changed is whole: a YAML file cut at the end of a line still parses.

A file of which both ends can be seen is certain: its first line with words is `---` and its last one `...` (YAML's own
marks of a document). Cut anywhere it is refused. A file without these marks may be cut unseen; then a change is refused
when it looks like a cut, which finds every cut of a file that says the same keys in the same order as before:

- nothing is said any more;
- it is the beginning of what stood there before, byte by byte, and says something else;
- no key is new, some are gone, and the last one is among them;
- its last line has no end, and had one before.

What stays unseen without marks: a cut at the end of a line in a file that brings new keys, or inside a text of several
lines. Who really means one of the refused changes writes the marks.
"""

from __future__ import annotations

from typing import Any

from infrastructure.core.config_core.yaml_file import deep_paths

START, END = b"---", b"..."
HOW = "; if it is meant, begin the file with a line --- and end it with a line ..."
Cut = tuple[str, str]
"""Why a file is held to be cut, and the dotted key that it has lost where it is that."""


def marked(content: bytes) -> bool:
    """Say whether the file's end is there for certain: its last line is `...`."""
    return content.rstrip().endswith(b"\n" + END)


def cut(content: bytes, tree: Any, before: tuple[bytes, Any] | None) -> Cut | None:
    """Say why a changed file is held to be cut, None when it is not; `before` is what stood there, with its tree."""
    if marked(content):
        return None
    if begins(content) and (before is None or not begins(before[0]) or marked(before[0])):
        return "begins with --- and does not end with ...: it was cut", ""
    if before is None or before[0] == content:
        return None
    return _looks_cut(content, tree, *before)


def begins(content: bytes) -> bool:
    """Say whether the first line with words is `---`."""
    lines = (line for line in content.splitlines() if line.strip() and not line.lstrip().startswith((b"#", b"%")))
    return next(lines, b"").startswith(START)


def _looks_cut(content: bytes, tree: Any, old: bytes, old_tree: Any) -> Cut | None:
    paths, old_paths = list(deep_paths(tree)), list(deep_paths(old_tree))
    if old_paths and not paths:
        return "says nothing any more and said something before: it may have been cut" + HOW, ""
    if old.startswith(content) and tree != old_tree:
        return "is the beginning of what stood there before: it may have been cut" + HOW, ""
    if set(paths) < set(old_paths) and old_paths[-1] not in paths:
        return "was the last key of the file and is gone, and none is new: it may have been cut" + HOW, ".".join(
            old_paths[-1]
        )
    if old.endswith(b"\n") and not content.endswith((b"\n", b"}", b"]")):
        return "has no end of its last line and had one before: it may have been cut", ""
    return None
