"""What a call hears from the HTTP transport under LiteLLM: whether it was sent, and the answer's status, headers and first bytes.

LiteLLM keeps some headers of some answers under some names, and gives a status to calls that nobody answered. The transport
sees what really came.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

MOST_KEPT_BYTES = 256_000


@dataclass(slots=True)
class Heard:
    """What one call heard; of several answers the last."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case; empty when no answer came."""
    status: int | None = None
    """Of the answer; None when none came."""
    asked: bool = False
    """The transport was asked to send; else LiteLLM failed before it."""
    sent: bool = False
    """A connection was there, and the request began to be written into it: from then on the provider may have it."""
    _pieces: list[bytes] = field(default_factory=list)
    _size: int = 0

    @property
    def body(self) -> bytes:
        """Return the answer's body as it came; empty when it is longer than MOST_KEPT_BYTES."""
        return b"".join(self._pieces) if self._size <= MOST_KEPT_BYTES else b""

    def add(self, piece: bytes) -> None:
        """Hear a piece of the body."""
        self._size += len(piece)
        if self._size <= MOST_KEPT_BYTES:
            self._pieces.append(piece)
        else:
            self._pieces.clear()


_listening: ContextVar[Heard | None] = ContextVar("heard_of_a_call", default=None)


@contextmanager
def listening() -> Iterator[Heard]:
    """Give what an HTTP call inside the block will have heard."""
    heard = Heard()
    token = _listening.set(heard)
    try:
        yield heard
    finally:
        _listening.reset(token)


def tell_asked() -> Heard | None:
    """Say that the transport is asked to send; returns who listens, if anybody does."""
    heard = _listening.get()
    if heard is not None:
        heard.asked = True
    return heard


async def tell_sent(*_: object) -> None:
    """Say that the request is about to be written; called by aiohttp as one of its trace signals."""
    heard = _listening.get()
    if heard is not None:
        heard.sent = True


def tell_answer(heard: Heard, status: int, raw: Iterable[tuple[bytes, bytes]]) -> None:
    """Hand over the status and headers of an answer, as they came."""
    heard.status = (
        status  # headers by hand: httpx looks for their encoding at each access, which costs more than the gate
    )
    heard.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}
