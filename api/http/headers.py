"""What a caller asks for in headers: how long to wait, under which key to do a thing once, from where on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any, Literal

import orjson

from api.http.problems import field_error

Headers = Iterable[tuple[bytes, bytes]]
MAX_KEY = 255
KEY_HEADER = "Idempotency-Key"
_PREFERENCE = re.compile(r'\s*wait\s*=\s*"?([^";]*?)"?\s*(?:;.*)?\Z', re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\["\\])*"')
_ESCAPED = re.compile(r'\\(["\\])')
_SECONDS = re.compile(r"[0-9]{1,6}\Z")
_EVENT_ID = re.compile(r"[0-9]{0,15}\Z")


def preferred_wait(headers: Headers, *, limit_s: float) -> int | None:
    """Return the N of `Prefer: wait=N` (RFC 7240; the first one counts), None where it is not asked for.

    Raises:
        ValidationFailed: N is no whole number of seconds, or more than `limit_s`.
    """
    for name, value in headers:
        if name == b"prefer":
            for preference in value.decode("latin-1").split(","):
                if found := _PREFERENCE.match(preference):
                    return seconds(found[1], field="Prefer", limit_s=limit_s)
    return None


def asked_wait(headers: Headers, query: str | None, *, limit_s: float) -> int | None:
    """Return the seconds to wait that `Prefer: wait=N` or `?wait=N` asks for; of both the smaller, of neither None.

    Raises:
        ValidationFailed: one of them is no whole number of seconds, or more than `limit_s`.
    """
    waits = (
        preferred_wait(headers, limit_s=limit_s),
        None if query is None else seconds(query, field="wait", limit_s=limit_s),
    )
    return min((wait for wait in waits if wait is not None), default=None)


def preference_applied(headers: Headers, wait_s: int | None) -> dict[str, str]:
    """Return the header that tells what became of a preference, where one was expressed."""
    said = any(name == b"prefer" for name, _ in headers)
    return {"Preference-Applied": f"wait={wait_s}"} if said and wait_s is not None else {}


def seconds(text: str, *, field: str, limit_s: float) -> int:
    """Return a whole number of seconds, 0 to `limit_s`.

    Raises:
        ValidationFailed: it is none, or more.
    """
    if not _SECONDS.match(text):
        raise field_error(field, "expected the wait to be a whole number of seconds")
    if int(text) > limit_s:
        raise field_error(field, f"expected the wait to be at most {limit_s:g} seconds, got {int(text)}")
    return int(text)


def cache_mode(headers: Headers) -> Literal["refresh", "off"] | None:
    """Return what `Cache-Control` (RFC 9111) asks of the answer cache: `no-store` is off, `no-cache` or `max-age=0` refresh.

    None where it says none of these; its other directives are for caches of HTTP.

    Raises:
        ValidationFailed: it says `only-if-cached`; a job cannot be kept from being run.
    """
    values = (value.decode("latin-1").lower() for name, value in headers if name == b"cache-control")
    said = {_directive(one) for value in values for one in value.split(",")}
    if ("only-if-cached", "") in said:
        raise field_error("Cache-Control", "expected no only-if-cached: a job is run where the cache has no answer")
    if "no-store" in {name for name, _ in said}:
        return "off"
    return "refresh" if "no-cache" in {name for name, _ in said} or ("max-age", "0") in said else None


def _directive(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip(), value.strip(' \t"')


def idempotency_key(headers: Headers) -> str | None:
    """Return the `Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header), None where there is none.

    It may stand in quotes, as the draft has it (a string of RFC 9651), or bare, as most send it: the quotes are no part of it.

    Raises:
        ValidationFailed: it is not 1 to 255 printable ASCII characters, its quotes do not fit, or there are several.
    """
    values = [value.decode("latin-1").strip(" \t") for name, value in headers if name == b"idempotency-key"]
    if not values:
        return None
    if len(values) > 1:
        raise field_error(KEY_HEADER, f"expected one key, got {len(values)}")
    key = _unquoted(values[0]) if values[0].startswith('"') else values[0]
    if not 1 <= len(key) <= MAX_KEY:
        raise field_error(KEY_HEADER, f"expected a key of 1 to {MAX_KEY} characters, got {len(key) or 'none'}")
    if not (key.isascii() and key.isprintable()):
        raise field_error(KEY_HEADER, "expected a key of printable ASCII characters, got others")
    return key


def idempotency(headers: Headers, body: Any) -> tuple[str, str] | None:
    """Return what stands for `Idempotency-Key` and for the body, None where there is no key; see `idempotency_key`."""
    key = idempotency_key(headers)
    return None if key is None else (hashlib.sha256(key.encode()).hexdigest(), body_digest(body))


def body_digest(body: Any) -> str:
    """Return what stands for a JSON body, however it was spelled."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def last_event_id(headers: Headers) -> int:
    """Return the number in `Last-Event-ID`: of the last event that the reader has; 0 where it has none.

    Raises:
        ValidationFailed: it is none of our numbers.
    """
    given = [value.decode("latin-1").strip() for name, value in headers if name == b"last-event-id"]
    if len(given) > 1 or (given and not _EVENT_ID.match(given[0])):
        raise field_error("Last-Event-ID", "expected one whole number, as the events' ids are")
    return int(given[0] or 0) if given else 0


def accepts(headers: Headers, media_type: str) -> bool:
    """Say whether `Accept` (RFC 9110) allows a media type; without it everything is allowed."""
    ranges = [one for name, value in headers if name == b"accept" for one in value.decode("latin-1").lower().split(",")]
    allowed = {media_type, f"{media_type.partition('/')[0]}/*", "*/*"}
    return not any(one.strip() for one in ranges) or any(
        found[0].strip() in allowed and not _refused(found[1:]) for found in (one.split(";") for one in ranges)
    )


def _refused(parameters: list[str]) -> bool:
    return any(re.fullmatch(r"\s*q\s*=\s*0(\.0*)?\s*", one) for one in parameters)


def _unquoted(text: str) -> str:
    if not _QUOTED.fullmatch(text):
        raise field_error(
            KEY_HEADER, "expected a key that begins with a quote to be one quoted string, got something else"
        )
    return _ESCAPED.sub(r"\1", text[1:-1])
