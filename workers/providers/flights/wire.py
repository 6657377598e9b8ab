"""What crosses from one process to another when a flight lands: an answer, or a verdict on the request itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from infrastructure.optional.validation_core import DataCorrupt
from workers.jobs import codec
from workers.providers.calls import Answer, CallerFault, CompletionFailed
from workers.providers.classify import Kind
from workers.providers.flights.flight import Landed

T = TypeVar("T")

_OF_THE_REQUEST = frozenset({Kind.INVALID_REQUEST, Kind.CONTENT_POLICY, Kind.CONTEXT_WINDOW})


class Wire(Protocol[T]):
    """How what is shared is written."""

    def verdict(self, error: Exception) -> tuple[str, str] | None:
        """Return a verdict that holds for every equal request, as code and text; None where the error is none."""

    def error(self, verdict: tuple[str, str]) -> Exception:
        """Return the error that a verdict is; a new one each time."""

    def fields(self, answer: T) -> dict[str, Any]:
        """Return an answer as JSON."""

    def answer(self, fields: dict[str, Any]) -> T:
        """Return the answer that its JSON tells."""


class AnswerWire:
    """Answers of `LiteLLMManager`. Attempts stay with who made them and pays for them."""

    def verdict(self, error: Exception) -> tuple[str, str] | None:
        """Return what a provider said of the request; never that it was away, late, or that we stopped."""
        if not isinstance(error, CompletionFailed):
            return None
        code = error.job_code
        everyone = code in _OF_THE_REQUEST or (
            code == Kind.UNSUPPORTED_PARAMETER and all(one.outcome == code for one in error.attempts)
        )
        return (code, error.message) if everyone else None

    def error(self, verdict: tuple[str, str]) -> Exception:
        """Return the failure of one who joined."""
        return CallerFault(verdict[1], job_code=verdict[0])

    def fields(self, answer: Answer) -> dict[str, Any]:
        """Return what others need of an answer."""
        return {"result": answer.result, "usage": answer.usage, "cost_usd": answer.cost_usd, "provider": answer.provider,
                "model": answer.model, "latency_ms": answer.latency_ms}  # fmt: skip

    def answer(self, fields: dict[str, Any]) -> Answer:
        """Return the answer of one who joined."""
        return Answer(attempts=(), **fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """The bytes of what landed, and back."""

    wire: Wire[Any]

    def pack(self, name: str, landed: Landed[Any], verdict: tuple[str, str] | None) -> bytes:
        """Return what landed under a flight's name."""
        body = {"verdict": verdict} if verdict is not None else {"answer": self.wire.fields(landed.answer)}
        return codec.pack({"name": name, "led_ms": landed.led_ms, **body})

    def unpack(self, name: str, data: bytes) -> Landed[Any] | None:
        """Return what landed; None where it is damaged, of another version, or another flight's."""
        try:
            body = codec.unpack(data)
            if body["name"] != name:
                return None
            if (verdict := body.get("verdict")) is not None:
                code, text = verdict
                return Landed(body["led_ms"], verdict=lambda: self.wire.error((code, text)))
            return Landed(body["led_ms"], answer=self.wire.answer(body["answer"]))
        except (DataCorrupt, KeyError, TypeError, ValueError):
            return None
