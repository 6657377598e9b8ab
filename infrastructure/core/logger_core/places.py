"""Where an exception happened, without a word of what it says: its text may quote a prompt, an answer or a key."""

from __future__ import annotations

from types import CodeType, TracebackType

_FRAMES_AT_MOST = 12
_INSIDE = frozenset({"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>", "<locals>"})


def where(exc: BaseException) -> dict[str, str]:
    """Return an exception's type and the last frame of its traceback, without its text."""
    places = _places(exc.__traceback__)
    return {"error_type": type(exc).__name__, "at": places[-1] if places else ""}


def told(exc: BaseException) -> dict[str, object]:
    """Return what a line tells of an exception: `where`, the frames that lead there, and the types of its causes."""
    found: dict[str, object] = dict(where(exc))
    places = _places(exc.__traceback__)
    if len(places) > 1:
        found["trace"] = places[-_FRAMES_AT_MOST:]
    if causes := _causes(exc):
        found["causes"] = causes
    return found


def place(filename: str, line: int, function: str) -> str:
    """Return `folder/file.py:12 in function`."""
    return f"{'/'.join(filename.rsplit('/', 2)[-2:])}:{line} in {function}"


def function_of(code: CodeType) -> str:
    """Return the name of the function that a piece of code belongs to: a comprehension's is the one around it."""
    name = code.co_name
    if name not in _INSIDE:
        return name
    return next((part for part in reversed(code.co_qualname.split(".")) if part not in _INSIDE), "<module>")


def _places(traceback: TracebackType | None) -> list[str]:
    places = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        places.append(place(code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    return places


def _causes(exc: BaseException) -> list[str]:
    """Return the types of what a group holds, and of the exceptions that led to this one."""
    causes = [type(inner).__name__ for inner in exc.exceptions] if isinstance(exc, BaseExceptionGroup) else []
    while len(causes) < _FRAMES_AT_MOST:
        following = exc.__cause__
        if following is None and not exc.__suppress_context__:
            following = exc.__context__
        if following is None:
            break
        causes.append(type(following).__name__)
        exc = following
    return causes[:_FRAMES_AT_MOST]
