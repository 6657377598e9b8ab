"""The sandbox's answers: made from the prompt alone, so that each proves which prompt it belongs to."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Literal

import orjson

from workers.providers.sandbox.asked import Asked, Tool
from workers.providers.sandbox.schema import fill

Finish = Literal["stop", "length", "tool_calls", "content_filter"]

CHARACTERS_A_TOKEN = 4
_FIRST = (
    "A patient clerk keeps count of a row of green doors.",
    "The night ferry waits beside the last warm stone, as it did the year before.",
    "Every second lamp was lit.",
    "One small engine returns with two baskets of pears.",
    "The old map makes light of the long way home, and of every hill on it.",
    "A quiet harbour has room for one boat more.",
    "The third notebook opens on a page without a number.",
    "A borrowed ladder outlasts the wall.",
)
_SECOND = (
    "Nobody asked why, and so the reason stayed in its drawer.",
    "Rain on tin says the same in any language.",
    "The copper nails were counted twice: once for the house, once for the sound of it.",
    "By noon the ink had dried.",
    "Somebody's careful handwriting runs down the margin and stops at the word perhaps.",
    "There are seven steps, of which the fifth creaks.",
    "What was borrowed in spring came back in autumn, with a new handle.",
    "The kettle knows.",
)
_THIRD = (
    "That is all there is to tell.",
    "So the bell was rung, late but clearly, and the gate was closed for the night.",
    "The rest is arithmetic.",
    "In the end the pears were shared out evenly.",
    "It was enough.",
    "Whoever comes next will find the key where it always hangs, under the second flowerpot.",
    "The wind agreed.",
    "Then the page was turned.",
)
_INTRODUCTION = "No model was asked: this text is made up from the prompt's digest."


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
    return _proof(_digest(prompt))


def _digest(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()


def _proof(digest: bytes) -> str:
    return f"[sandbox] sha256:{digest[:8].hex()}"


def count_tokens(text: str) -> int:
    """Return a rough count of tokens: a quarter of the characters, rounded up."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


def prose(prompt: str, *, index: int = 0) -> str:
    """Return the prose answer to a prompt; `index`, below 512, tells the choices of one answer apart."""
    digest = _digest(prompt)
    seed = digest[8] + digest[9] * 256 + index
    told = f"{_FIRST[seed % 8]} {_SECOND[seed // 8 % 8]} {_THIRD[seed // 64 % 8]}"
    return f"{_proof(digest)} {_INTRODUCTION} {told}"


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
