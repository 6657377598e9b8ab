"""Which texts stand in a piece of code: what a programmer wrote is no prompt, whatever arrives at run time may be one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import CodeType, FrameType

_LOOK_AT_MOST = 40
_KEEP_AT_MOST = 4_096
_known: dict[CodeType, frozenset[str]] = {}
_of_modules: dict[str, frozenset[str]] = {}


def literals(code: CodeType) -> frozenset[str]:
    """Return the constant texts of a function (not of the functions inside it)."""
    found = _known.get(code)
    if found is None:
        if len(_known) >= _KEEP_AT_MOST:  # code made at run time, again and again
            _known.clear()
        found = _known[code] = frozenset(_texts(code.co_consts))
    return found


def _texts(constants: Iterable[object]) -> Iterator[str]:
    for constant in constants:
        if isinstance(constant, str):
            yield constant
        elif isinstance(constant, (tuple, frozenset)):
            yield from _texts(constant)


def constants_of_module(names: Mapping[str, object]) -> frozenset[str]:
    """Return the texts that a module holds in its constants, as they are and without blanks around them."""
    module = str(names.get("__name__"))
    found = _of_modules.get(module)
    if found is None:
        values = [
            value for name, value in names.items() if isinstance(value, (str, tuple)) and not name.startswith("__")
        ]
        texts = set(_texts(values))
        found = _of_modules[module] = frozenset(texts | {text.strip() for text in texts})
    return found


def frame_of(frame: FrameType | None, *, filename: str, function: str | None) -> FrameType | None:
    """Return the nearest caller of `frame` with this function and file, None when there is none nearby."""
    for _ in range(_LOOK_AT_MOST):
        if frame is None:
            return None
        code = frame.f_code
        if code.co_name == function and code.co_filename == filename:
            return frame
        frame = frame.f_back
    return None
