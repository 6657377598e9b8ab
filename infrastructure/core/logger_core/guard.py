"""The filter in front of every line: what is not allowed by name and form stays out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import date
from enum import Enum
from itertools import islice
from pathlib import PurePath
from types import CodeType
from typing import Any, Final
from uuid import UUID

from infrastructure.core.logger_core.context_keys import KNOWN, Kind
from infrastructure.core.logger_core.events import KNOWN_MESSAGES
from infrastructure.core.logger_core.literals import literals
from infrastructure.core.logger_core.secret_shapes import any_of, looks_random, looks_random_for_an_id, looks_secret

WITHHELD: Final = "[withheld]"
REDACTED: Final = "[redacted]"
MESSAGE_CHARS = 300
ENTRIES_AT_MOST = 64
ITEMS_AT_MOST = 32
_BIG = 2**63
_REMEMBERED = 2_048
_KEY = re.compile(r"[a-z][a-z0-9_]{0,39}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMS: Final[Mapping[Kind, re.Pattern[str]]] = {
    Kind.NUMBER: re.compile(r"(?!)"),
    Kind.NAME: re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:/@+*#-]{0,119}"),
    Kind.ID: re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@-]{0,127}"),
    Kind.PATH: re.compile(r"[A-Za-z0-9._~/{}:@+-]{1,200}"),
    Kind.PLACE: re.compile(r"[\w./<>@+-]{1,150}:\d{1,7} in [\w<>.]{1,100}"),
    Kind.SHARE: re.compile(r"\d{1,4}(?:\.\d{1,3})?%(?: (?:faster|slower|fewer|less|more))?"),
}


class Guard:
    """Lets through what is allowed, and counts what it did not let through.

    `withheld` counts values (and keys) that are not on the allow-list, `redacted` those that look like a secret or are one
    of those given to `hide`. Not safe for threads: its user holds a lock.
    """

    def __init__(self) -> None:
        self.withheld = 0
        self.redacted = 0
        self._hidden: re.Pattern[str] | None = None
        self._fine: dict[tuple[Kind, str], str] = {}
        self._constants: dict[str, str] = {}
        self._allowed: dict[str, Kind] = {}

    def allow(self, keys: Mapping[str, Kind]) -> None:
        """Let these keys through as well, each with values of its kind.

        Raises:
            ValueError: one is no key.
        """
        for key in keys:
            if _KEY.fullmatch(key) is None:
                raise ValueError(f"expected a key to be 1 to 40 of a-z, 0-9 and _, a letter first, got {key!r}")
        self._allowed |= {key: Kind(kind) for key, kind in keys.items()}

    def hide(self, secrets: Iterable[str]) -> None:
        """Keep these texts out of every line, whatever they look like; the ones of an earlier call are forgotten."""
        self._hidden = any_of(secrets)
        self._fine.clear()
        self._constants.clear()

    def message(self, message: object, code: CodeType) -> str:
        """Return a message of ours when it stands in the code that says it, else how long it is."""
        text = str.__str__(message) if issubclass(type(message), str) else None
        if text is not None and (text in KNOWN_MESSAGES or text in literals(code)):
            return self.constant(text)
        return self.withhold_text(text)

    def constant(self, text: str) -> str:
        """Return a text that stands in code, in one bounded line."""
        found = self._constants.get(text)
        if found is None:
            if looks_secret(text) or self._is_hidden(text):
                self.redacted += 1
                return REDACTED
            found = _in_one_line(text)
            self._make_room(self._constants)
            self._constants[text] = found
        return found

    def withhold_text(self, text: object) -> str:
        """Say that there was a text, and no more."""
        self.withheld += 1
        return f"[withheld: {len(text)} characters]" if isinstance(text, str) else WITHHELD

    def context(
        self, context: Mapping[str, Any], code: CodeType | None = None, spelled: Collection[str] = ()
    ) -> dict[str, Any]:
        """Return what may be told of a context; `code` is whose it is: the keys it spells, and those in `spelled`, are named."""
        found: dict[str, Any] = {}
        try:
            for key, value in islice(context.items(), ENTRIES_AT_MOST):
                kind = (KNOWN.get(key) or self._allowed.get(key)) if type(key) is str else None
                if kind is not None:
                    found[key] = self.value(kind, value)
                elif key in spelled or is_spelled(key, code):
                    found[key] = self.value(Kind.NUMBER, value)
                else:
                    self.withheld += 1
        except Exception:  # noqa: BLE001  no table, or one that breaks when it is read: the line comes without it
            self.withheld += 1
        return found

    def value(self, kind: Kind, value: Any) -> Any:
        """Return a value when its kind allows it, else a word in its place."""
        form = type(value)
        if form is str:
            return self._text(kind, value)
        if value is None or form is float or form is bool or (form is int and -_BIG <= value < _BIG):
            return value
        try:
            return self._other(kind, value)
        except Exception:  # noqa: BLE001  an object that breaks when it is looked at
            self.withheld += 1
            return WITHHELD

    def _text(self, kind: Kind, text: str) -> str:
        if (kind, text) in self._fine or not text:
            return text
        if _FORMS[kind].fullmatch(text) is None:
            self.withheld += 1
            return WITHHELD
        random = looks_random if kind is Kind.NAME else looks_random_for_an_id
        if looks_secret(text) or random(text) or self._is_hidden(text):
            self.redacted += 1
            return REDACTED
        self._make_room(self._fine)
        self._fine[kind, text] = text
        return text

    def _other(self, kind: Kind, value: Any) -> Any:
        """Return what is left of a value that is no plain one; nothing of it is called that could tell its content."""
        if isinstance(value, Enum):
            return self.value(kind, value.value)
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.value(kind, item) for item in islice(value, ITEMS_AT_MOST) if not _is_nested(item)]
        if isinstance(value, Mapping):
            return self._table(kind, value)
        text = _text_of(value)
        if text is None:
            self.withheld += 1
            return WITHHELD
        return self._text(Kind.NAME if isinstance(value, BaseException) else kind, text)

    def _table(self, kind: Kind, table: Mapping[Any, Any]) -> dict[str, Any]:
        """Return a flat table whose keys are names, such as counts by provider."""
        rows = ((key, value) for key, value in islice(table.items(), ITEMS_AT_MOST) if not _is_nested(value))
        return {str(self.value(Kind.NAME, key)): self.value(kind, value) for key, value in rows}

    @staticmethod
    def _make_room(table: dict[Any, str]) -> None:
        """Make room for one more judged text: most come again and again, and judging is the larger part of a line."""
        if len(table) >= _REMEMBERED:
            table.clear()

    def _is_hidden(self, text: str) -> bool:
        return self._hidden is not None and self._hidden.search(text) is not None


def is_spelled(key: object, code: CodeType | None) -> bool:
    """Say whether a context's key stands in the code that uses it, so that it can be named."""
    return type(key) is str and code is not None and key in literals(code) and _KEY.fullmatch(key) is not None


def _in_one_line(text: str) -> str:
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= MESSAGE_CHARS else text[: MESSAGE_CHARS - 1] + "…"


def _text_of(value: object) -> str | None:
    """Return the text of the few types whose text is known to be harmless in its form; of an exception its type."""
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, str):
        return str.__str__(value)
    return str(value) if isinstance(value, (UUID, date, PurePath)) else None


def _is_nested(value: object) -> bool:
    return isinstance(value, (list, tuple, set, frozenset, Mapping))
