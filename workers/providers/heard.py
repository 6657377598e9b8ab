"""The headers of an answer, handed from the HTTP transport under LiteLLM to whoever makes the call.

LiteLLM keeps some headers of some answers under some names. The transport sees all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(slots=True)
class Heard:
    """What one call heard: the headers of the last answer, names in lower case; empty when none came."""

    headers: Mapping[str, str] = field(default_factory=dict)


_listening: ContextVar[Heard | None] = ContextVar("headers_of_an_answer", default=None)


@contextmanager
def listening() -> Iterator[Heard]:
    """Give what an HTTP call inside the block will have heard."""
    heard = Heard()
    token = _listening.set(heard)
    try:
        yield heard
    finally:
        _listening.reset(token)


def tell(raw: Iterable[tuple[bytes, bytes]]) -> None:
    """Hand over the headers of an answer, as they came; nobody need be listening."""
    heard = _listening.get()
    if heard is not None:  # by hand: httpx looks for their encoding at each access, which costs more than the gate
        heard.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
