"""What an invalidation reaches: a key, the keys that begin alike, a namespace, or all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from infrastructure.core.cache_core.names import Name, as_bytes


@dataclass(frozen=True, slots=True)
class Scope:
    """Names in a namespace (None: in all) whose keys are `key`, or begin with `prefix`."""

    namespace: str | None = None
    key: str | None = None
    prefix: str = ""

    def holds(self, name: Name) -> bool:
        """Say whether a name is in the scope."""
        if self.namespace is None:
            return True
        if name[0] != self.namespace:
            return False
        return name[1] == self.key if self.key is not None else name[1].startswith(self.prefix)

    def fields(self) -> list[bytes]:
        """Return the scope as the fields of an entry in the log."""
        if self.namespace is None:
            return [b"a", b""]
        if self.key is not None:
            return [b"s", as_bytes(self.namespace), b"k", as_bytes(self.key)]
        return [b"s", as_bytes(self.namespace), b"p", as_bytes(self.prefix)]


def read_scope(fields: Mapping[bytes, bytes]) -> Scope:
    """Return the scope that the fields of an entry in the log tell; all, where they tell nothing that is known."""
    try:
        text = {name: value.decode("utf-8", "surrogatepass") for name, value in fields.items()}
    except UnicodeDecodeError:
        return Scope()
    if b"s" not in text:
        return Scope()
    return Scope(text[b"s"], text.get(b"k"), text.get(b"p", ""))


Instant = tuple[int, int]
_NEVER = (2**64, 0)


def instant(entry_id: bytes) -> Instant:
    """Return the id of an entry in the log in a form that can be compared.

    Raises:
        ValueError: it is none.
    """
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


class Marks:
    """Which values in Redis are not believed any more: those of a scope that were written before its mark.

    An invalidation of many keys writes a mark, and deletes nothing: it costs the same for ten keys and for ten million, it
    holds for every later read by any process, and what it hides expires by itself.
    """

    def __init__(self) -> None:
        self.known: bytes | None = None
        self._scopes: list[tuple[Scope, Instant]] = []

    def learn(self, known: bytes, rows: Mapping[Any, Any]) -> None:
        """Take over what Redis holds: `known` is the id of the last mark, `rows` scope -> id.

        A row that cannot be read may be a mark of any scope, made when the last one was.
        """
        self.known = known
        self._scopes = [_mark(text, entry_id) or (Scope(), _mark_time(known)) for text, entry_id in rows.items()]

    def hide(self, name: Name, stamp: bytes) -> bool:
        """Say whether a value that was written at `stamp` is not to be believed."""
        if not self._scopes:
            return False
        written = instant(stamp)
        return any(written < since and scope.holds(name) for scope, since in self._scopes)


def mark_name(scope: Scope) -> bytes:
    """Return a scope as the name of a mark."""
    return b"*" if scope.namespace is None else as_bytes(f"{scope.namespace}:{scope.prefix}")


def _mark(text: bytes, entry_id: bytes) -> tuple[Scope, Instant] | None:
    try:
        return _scope(text), instant(entry_id)
    except ValueError:
        return None


def _mark_time(entry_id: bytes) -> Instant:
    try:
        return instant(entry_id)
    except ValueError:
        return _NEVER


def _scope(text: bytes) -> Scope:
    if text == b"*":
        return Scope()
    namespace, _, prefix = text.decode("utf-8", "surrogatepass").partition(":")
    return Scope(namespace, None, prefix)
