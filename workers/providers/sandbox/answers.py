"""The sandbox's answers: made from the prompt alone, so that each proves which prompt it belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from workers.providers.sandbox.asked import Asked, Tool

Finish = Literal["stop", "length", "tool_calls", "content_filter"]

CHARACTERS_A_TOKEN = 4
_WHO = ("A patient clerk", "The night ferry", "Every second lamp", "One small engine", "The old map", "A quiet harbour",
        "The third notebook", "A borrowed ladder")  # fmt: skip
_DOES = ("keeps count of", "waits beside", "has room for", "was built around", "points towards", "makes light of",
         "returns with", "outlasts")  # fmt: skip
_WHAT = ("a row of green doors", "the last warm stone", "two baskets of pears", "a page without a number",
         "the sound of rain on tin", "somebody's careful handwriting", "the long way home",
         "a jar of copper nails")  # fmt: skip
_INTRODUCTION = "No model was asked: this text is made up from the prompt's digest."
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a tool, with its arguments as JSON text."""

    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Made:
    """One choice of an answer."""

    text: str | None
    finish: Finish = "stop"
    call: Call | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the answer reports them."""

    prompt: int
    completion: int

    @property
    def total(self) -> int:
        """Return the sum."""
        return self.prompt + self.completion


def proof(prompt: str) -> str:
    """Return the words that every prose answer to this prompt begins with: the sandbox's name and the prompt's digest.

    `prompt` is the text of the last user message. The digest is the first 16 hex digits of its SHA-256.
    """
    return f"[sandbox] sha256:{hashlib.sha256(prompt.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"


def count_tokens(text: str) -> int:
    """Return a rough count of tokens: a quarter of the characters, rounded up."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


def prose(prompt: str, *, index: int = 0) -> str:
    """Return the prose answer to a prompt; `index` tells the choices of one answer apart."""
    seed = hashlib.sha256(f"{index}\x1f{prompt}".encode("utf-8", "surrogatepass")).digest()
    sentences = (_sentence(seed[at : at + 3]) for at in range(1, 2 + 3 * (2 + seed[0] % 4), 3))
    return " ".join((proof(prompt), _INTRODUCTION, *sentences))


def _sentence(seed: bytes) -> str:
    who, does, what = seed
    return f"{_WHO[who % 8]} {_DOES[does % 8]} {_WHAT[what % 8]}."


def make(asked: Asked) -> list[Made]:
    """Return the choices of the answer to what is asked."""
    return [_choice(asked, index) for index in range(asked.choices)]


def _choice(asked: Asked, index: int) -> Made:
    if asked.tool is not None:
        return Made(None, "tool_calls", _call(asked.tool, proof(asked.prompt)))
    if asked.json_schema is not None:
        return _cut(orjson.dumps(_document(asked)).decode(), asked.max_tokens)
    return _cut(prose(asked.prompt, index=index), asked.max_tokens)


def _cut(text: str, max_tokens: int | None) -> Made:
    if max_tokens is None or count_tokens(text) <= max_tokens:
        return Made(text)
    return Made(text[: max_tokens * CHARACTERS_A_TOKEN], "length")


def _document(asked: Asked) -> Any:
    if asked.json_schema:
        return fill(asked.json_schema, proof(asked.prompt))
    return {"sandbox": True, "proof": proof(asked.prompt)}


def _call(tool: Tool, text: str) -> Call:
    return Call(tool.name, orjson.dumps(fill({"type": "object", **tool.schema}, text)).decode())


def fill(schema: Any, text: str, *, depth: int = 0) -> Any:
    """Return a small value that fits a JSON schema's types, with `text` in its strings.

    Knows `const`, `enum`, `anyOf`, objects with their required properties, arrays and the plain types; no patterns,
    ranges or references. Nesting beyond 8 is null.
    """
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return fill(schema["anyOf"][0], text, depth=depth + 1)
    return _of_type(schema, text, depth)


def _of_type(schema: dict[str, Any], text: str, depth: int) -> Any:
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties") or {}
            wanted = schema.get("required", list(properties))
            return {name: fill(properties.get(name), text, depth=depth + 1) for name in wanted}
        case "array":
            return [fill(schema.get("items"), text, depth=depth + 1)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return text


def usage_of(asked: Asked, made: list[Made]) -> Usage:
    """Return the tokens that a question and its answer's choices come to."""
    return Usage(asked.prompt_tokens, sum(_tokens_of(choice) for choice in made))


def _tokens_of(choice: Made) -> int:
    return count_tokens(choice.text or "") + (count_tokens(choice.call.arguments) if choice.call else 0)


def without_text(made: list[Made], *, text: str | None) -> list[Made]:
    """Return the choices with `text` (None or "") in place of what they say, and no call."""
    return [replace(choice, text=text, call=None, finish="stop") for choice in made]


def filtered(made: list[Made]) -> list[Made]:
    """Return the choices as a provider's content filter leaves them: half said, and told why."""
    return [replace(choice, text=_half(choice.text), call=None, finish="content_filter") for choice in made]


def _half(text: str | None) -> str:
    return (text or "")[: len(text or "") // 2]


def pieces(text: str) -> list[str]:
    """Return a text in the pieces that a stream brings it in, some four tokens each."""
    step = 4 * CHARACTERS_A_TOKEN
    return [text[at : at + step] for at in range(0, len(text), step)]
