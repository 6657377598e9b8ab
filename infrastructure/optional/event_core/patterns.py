"""Which topics a pattern means: `*` stands for one word, `#` for any number of words, none included.

provider.failover    that topic
worker.*             worker.ready, worker.stopped; not worker, not worker.pool.full
worker.#             worker, worker.ready, worker.pool.full
#                    every topic
"""

from __future__ import annotations

import functools
import re

_PATTERN = re.compile(r"(?:[a-z0-9_-]+|\*|#)(?:\.(?:[a-z0-9_-]+|\*|#))*\Z")


def matches(pattern: str, topic: str) -> bool:
    """Say whether a topic is among those that a pattern means.

    Raises:
        ValueError: the pattern is not made of words, `*` and `#` joined by dots.
    """
    return _match(_words(pattern), topic)


def check(pattern: str) -> None:
    """Refuse what is no pattern.

    Raises:
        ValueError: see `matches`.
    """
    _words(pattern)


@functools.lru_cache(maxsize=256)
def _words(pattern: str) -> tuple[str, ...]:
    if not _PATTERN.match(pattern):
        raise ValueError("expected a pattern to be words, * and # joined by dots, got another form")
    words = pattern.split(".")
    # Two # in a row mean what one does, and would be tried in every split.
    return tuple(word for place, word in enumerate(words) if not (word == "#" and words[place - 1 : place] == ["#"]))


@functools.lru_cache(maxsize=4096)
def _match(pattern: tuple[str, ...], topic: str) -> bool:
    """Walk along the topic once, with all places of the pattern that may come next: no pattern is slow."""
    places = _past_rests(pattern, {0})
    for word in topic.split("."):
        rests = {place for place in places if place < len(pattern) and pattern[place] == "#"}
        steps = {place + 1 for place in places - rests if place < len(pattern) and pattern[place] in {"*", word}}
        places = _past_rests(pattern, rests | steps)
    return len(pattern) in places


def _past_rests(pattern: tuple[str, ...], places: set[int]) -> set[int]:
    """Return the places with those behind a # besides, which may stand for no word; no two # follow each other."""
    return places | {place + 1 for place in places if place < len(pattern) and pattern[place] == "#"}
