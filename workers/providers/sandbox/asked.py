"""What a request asks of the sandbox, whichever wire format it came in."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

_SYSTEM_ROLES = ("system", "developer")


class Refused(Exception):
    """A request that the sandbox answers with an error, as a provider would: status, code, message."""

    def __init__(self, status: int, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Message:
    """One message: who speaks, and its text parts joined by line ends."""

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that must be called: its name and the JSON schema of its arguments."""

    name: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request in the sandbox's own terms.

    `prompt` is the text of the last user message, `digest` the first 64 bits of the whole conversation's SHA-256, the
    same over either wire. `json_schema` is None for prose, `{}` for any JSON object.
    """

    model: str
    prompt: str
    digest: int
    prompt_tokens: int
    choices: int = 1
    max_tokens: int | None = None
    stream: bool = False
    stream_usage: bool = False
    tool: Tool | None = None
    json_schema: dict[str, Any] | None = None
    serial: int | None = None
    """Tells this answer from others to the same conversation, where the instance gives such numbers."""

    @property
    def answer_id(self) -> str:
        """Return what the answer's id ends in."""
        return f"{self.digest:016x}" if self.serial is None else f"{self.digest:016x}-{self.serial}"


def text_of(content: Any) -> str:
    """Return the text of a message's content: a string, or the text parts of a list joined by line ends."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(filter(None, (_part(part) for part in content)))


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict):
        return ""
    return part["text"] if isinstance(part.get("text"), str) else text_of(part.get("content"))


def read_messages(body: dict[str, Any]) -> list[Message]:
    """Return a body's messages; Refused when there is none or one has no role."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise Refused(400, "expected messages to be a list with at least one message")
    return [_message(message) for message in messages]


def _message(message: Any) -> Message:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise Refused(400, "expected each message to be an object with a role")
    return Message(message["role"], text_of(message.get("content")))


def read_model(body: dict[str, Any]) -> str:
    """Return the model asked for; Refused when there is none, or its name ends in `-unknown`."""
    model = body.get("model")
    if not isinstance(model, str) or not model:
        raise Refused(400, "expected model to be a name")
    if model.endswith("-unknown"):
        raise Refused(404, f"expected model to be one that exists, got {model}", code="model_not_found")
    return model


def read_count(body: dict[str, Any], *names: str) -> int | None:
    """Return the first of these whole numbers that is set; Refused when it is not one or less than 1."""
    for name in names:
        value = body.get(name)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise Refused(400, f"expected {name} to be a whole number of at least 1")
        return value
    return None


def last_prompt(messages: list[Message]) -> str:
    """Return the text of the last user message, or of the last message where no user speaks."""
    return next((message.text for message in reversed(messages) if message.role == "user"), messages[-1].text)


def conversation_digest(messages: list[Message]) -> int:
    """Return the first 64 bits of the SHA-256 of a conversation, system messages first."""
    system = [f"system\x1f{m.text}" for m in messages if m.role in _SYSTEM_ROLES]
    others = [f"{m.role}\x1f{m.text}" for m in messages if m.role not in _SYSTEM_ROLES]
    joined = "\x1e".join(system + others)
    return int.from_bytes(hashlib.sha256(joined.encode("utf-8", "surrogatepass")).digest()[:8])
