"""Names of cached values, and of the keys that hold them in Redis.

Every key begins with `{prefix}:cache:{space}:`, so that only `{prefix}:cache:*` needs to live on a server that evicts.
The space is the cache's service name unless it is given; neither it nor a namespace has a colon in it, so no two names
meet in one key.

    key                               type    expiry              meaning
    cache:{space}:{namespace}:{key}   string  its ttl             a value, sealed: see envelope.py
    cache:{space}::log                stream  1 h after the last  every change, newest 20,000: fields s (namespace) with
                                                                  k (key), p (prefix of keys) or neither (all of them)
    cache:{space}::marks              hash    longest ttl         scope -> id in the log: what was written before it in
                                                                  that scope is not believed any more
    cache:{space}::marked             string  longest ttl         id of the last mark
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TypeAlias

Name: TypeAlias = tuple[str, str]
"""Namespace and key."""

DEFAULT_NAMESPACE = "-"
MAX_KEY = 1_024
_PART = re.compile(r"[A-Za-z0-9_.-]{1,128}\Z")


@lru_cache(maxsize=4_096)
def check_part(text: str, what: str = "namespace") -> str:
    """Return a space's or a namespace's name.

    Raises:
        ValueError: it is not 1 to 128 letters, digits, `_`, `.` and `-`.
    """
    if not _PART.match(text):
        raise ValueError(f"expected {what} to be 1 to 128 of A-Z a-z 0-9 _ . -, got {len(text)} characters")
    return text


def name_of(key: str, namespace: str) -> Name:
    """Return the name of a value.

    Raises:
        TypeError: the key is no text.
        ValueError: the key is empty or longer than 1,024 characters, or the namespace breaks its rule.
    """
    if not isinstance(key, str):
        raise TypeError(f"expected a cache key to be a str, got {type(key).__name__}")
    if not 0 < len(key) <= MAX_KEY:
        raise ValueError(f"expected a cache key to be 1 to {MAX_KEY} characters, got {len(key)}")
    return check_part(namespace), key


def as_bytes(text: str) -> bytes:
    """Return any text as bytes, lone surrogates too."""
    return text.encode("utf-8", "surrogatepass")


class Names:
    """The keys of one cache in Redis."""

    def __init__(self, *, prefix: str, space: str) -> None:
        self._start = as_bytes(f"{prefix}:cache:{check_part(space, 'the name of a cache')}:")
        self.log = self._start + b":log"
        self.marks = self._start + b":marks"
        self.marked = self._start + b":marked"

    def entry(self, name: Name) -> bytes:
        """Return the key of a value."""
        return self._start + as_bytes(f"{name[0]}:{name[1]}")
