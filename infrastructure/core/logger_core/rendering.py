"""A line as text: JSON for machines, or a coloured line for a person."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

FORMATS: Final = ("json", "console")
_COLOURS = {"WARNING": "\033[33m", "ERROR": "\033[31m", "CRITICAL": "\033[31m"}
_PLAIN = "\033[0m"


def as_json(line: dict[str, Any]) -> str:
    """Return the line as one JSON object."""
    return orjson.dumps(line).decode()


def as_ascii(text: str) -> str:
    """Return a rendered line for an output that cannot take all of Unicode."""
    try:
        return json.dumps(json.loads(text))
    except ValueError:
        return text.encode("ascii", "replace").decode()


def as_console(line: dict[str, Any], *, colours: bool) -> str:
    """Return time, level, message, then the context."""
    context = " ".join(f"{key}={_short(value)}" for key, value in line["context"].items())
    text = f"{line['timestamp'][11:19]} {line['level']:<8} {line['message']} {context}".rstrip()
    colour = _COLOURS.get(line["level"]) if colours else None
    return f"{colour}{text}{_PLAIN}" if colour else text


def _short(value: Any) -> str:
    return value if isinstance(value, str) else as_json(value)
