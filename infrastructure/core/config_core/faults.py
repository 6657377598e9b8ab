"""A fault in the configuration: a sentence that also knows its key and layer, and never holds a value."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Self


class Fault(str):
    """One sentence, `key: what is wrong (layer)`; either may be empty where it is not known.

    `code` is the kind of fault in one word, for a log line that may hold no sentence made at run time.
    """

    __slots__ = ("code", "key", "layer")

    code: str
    key: str
    layer: str

    def __new__(cls, text: str, *, key: str = "", layer: str = "", code: str = "invalid") -> Self:
        """Return the sentence made of its parts."""
        sentence = f"{key}: {text}" if key else text
        fault = super().__new__(
            cls, f"{sentence} ({layer})" if layer and key else f"{layer}: {text}" if layer else sentence
        )
        fault.key, fault.layer, fault.code = key, layer, code
        return fault


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint at the nearest known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""
