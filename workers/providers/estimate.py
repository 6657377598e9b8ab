"""What a request will roughly take: tokens and money, guessed before the call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from workers.providers.calls import Target

CHARS_A_TOKEN = 4
SURE_CHARS_A_TOKEN = 12
"""No ordinary text has so many: what has more tokens than a window even at this rate surely does not fit."""
IMAGE_TOKENS = 1_000
USUAL_ANSWER_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A request's size: characters of text, pictures, choices, and the tokens that an answer may have, where it says so."""

    chars: int
    pictures: int
    choices: int
    most_tokens: int | None

    @property
    def prompt_tokens(self) -> int:
        """Return the likely tokens of the prompt."""
        return self.chars // CHARS_A_TOKEN + IMAGE_TOKENS * self.pictures

    @property
    def answer_tokens(self) -> int:
        """Return the likely tokens of the answer."""
        return self.choices * min(self.most_tokens or USUAL_ANSWER_TOKENS, USUAL_ANSWER_TOKENS)

    @property
    def tokens(self) -> int:
        """Return the likely tokens of prompt and answer."""
        return self.prompt_tokens + self.answer_tokens

    def surely_above(self, window: int | None) -> bool:
        """Say whether the prompt cannot fit into so many tokens."""
        return window is not None and self.chars // SURE_CHARS_A_TOKEN > window


def size_of(params: Mapping[str, Any]) -> Size:
    """Return a request's size."""
    chars = pictures = 0
    for message in params.get("messages") or ():
        content = message.get("content")
        if isinstance(content, str):
            chars += len(content)
            continue
        for part in content or ():
            chars += len(part.get("text") or "")
            pictures += part.get("type") == "image_url"
    return Size(
        chars=chars,
        pictures=pictures,
        choices=params.get("n") or 1,
        most_tokens=params.get("max_completion_tokens") or params.get("max_tokens"),
    )


def likely_usd(target: Target, prompt_tokens: int, answer_tokens: int) -> float | None:
    """Return what a call of so many tokens costs; None when the model has no known price."""
    prices = target.prices
    return None if prices is None else prompt_tokens * prices[0] + answer_tokens * prices[1]


def most_usd(target: Target, size: Size) -> float | None:
    """Return the most that a call can cost; None when that is not known."""
    facts, prices = target.facts, target.prices
    answer = size.most_tokens or target.provider.max_tokens or facts.most_tokens or facts.window
    if prices is None or answer is None:
        return None
    prompt = size.chars + IMAGE_TOKENS * size.pictures  # a token has at least a character
    return prompt * prices[0] + size.choices * answer * prices[1]
