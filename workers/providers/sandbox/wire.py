"""What a wire format's module promises the server."""

from __future__ import annotations

from typing import Any, Protocol

from workers.providers.sandbox.answers import Made, Usage
from workers.providers.sandbox.asked import Asked


class Wire(Protocol):
    """A wire format: reads requests, writes answers, streams and errors."""

    NAME: str

    def read(self, body: dict[str, Any]) -> Asked:
        """Return what a request's body asks; Refused as the provider would refuse it."""

    def answer(self, asked: Asked, made: list[Made], usage: Usage | None) -> dict[str, Any]:
        """Return a whole answer; without `usage` where that is None."""

    def events(self, asked: Asked, made: list[Made], usage: Usage | None) -> list[bytes]:
        """Return a streamed answer's server-sent events."""

    def error(
        self, status: int, *, kind: str | None = None, code: str | None = None, message: str | None = None
    ) -> Any:
        """Return the error object of a status, with the parts that are given in place of the usual ones."""

    def models(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the list of models."""
