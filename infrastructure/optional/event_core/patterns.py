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
    return _match(tuple(_words(pattern)), tuple(topic.split(".")))


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
def _match(pattern: tuple[str, ...], topic: tuple[str, ...]) -> bool:
    if not pattern:
        return not topic
    if pattern[0] == "#":
        return any(_match(pattern[1:], topic[taken:]) for taken in range(len(topic) + 1))
    return bool(topic) and pattern[0] in {"*", topic[0]} and _match(pattern[1:], topic[1:])
