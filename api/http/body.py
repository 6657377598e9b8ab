"""Reading a request's JSON body: bounded in bytes, depth and time, and strict about what JSON is."""

from __future__ import annotations

import asyncio
import json
import re
from itertools import accumulate
from typing import Any, ClassVar

import orjson
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope

from infrastructure.core.config_core.settings import Limits
from infrastructure.core.error_core import BodyTooLarge, InvalidJSON, RequestError, UnsupportedMediaType
from workers.jobs.request.faults import shown_name

READ_S = 60.0
DRAIN_S = 5.0
DRAIN_BYTES = 67_108_864
_MEDIA_TYPE = re.compile(r"""application/json\s*(;\s*charset\s*=\s*"?utf-?8"?\s*)?;?\s*\Z""", re.IGNORECASE)
_NAMED_TYPE = re.compile(r"[a-z]{1,20}/[a-z0-9.+-]{1,40}")
# The last quote is optional: an unfinished string is taken to the end, or each quote in it would be tried again.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class BodyTooSlow(RequestError):
    """The body did not arrive in time."""

    code: ClassVar[str] = "request_timeout"
    status: ClassVar[int] = 408
    title: ClassVar[str] = "The body came too slowly"
    retryable: ClassVar[bool] = True


async def read_json(scope: Scope, receive: Receive, limits: Limits) -> Any:
    """Return a request's body as a JSON value.

    Raises:
        UnsupportedMediaType: its type is not `application/json`, or it is compressed.
        BodyTooLarge: it is longer than `limits.body_bytes`.
        BodyTooSlow: it took longer than a minute.
        InvalidJSON: it is no JSON document, or one that is refused (see `parse`).
        ClientDisconnect: the client went away in the middle.
    """
    return parse(await read_bytes(scope, receive, limits), limits.depth)


async def read_bytes(scope: Scope, receive: Receive, limits: Limits) -> bytes:
    """Return a request's body as it came; raises what `read_json` does, but for InvalidJSON."""
    headers = dict(scope["headers"])
    _check_type(headers)
    try:
        async with asyncio.timeout(READ_S):
            return await _read(headers, receive, limits.body_bytes)
    except TimeoutError:
        raise BodyTooSlow(f"expected the whole body within {READ_S:g} seconds") from None


def parse(body: bytes, depth: int) -> Any:
    """Return the JSON value that `body` spells.

    Raises:
        InvalidJSON: a fault in the syntax, not UTF-8, NaN or an infinity, half a surrogate pair, a number beyond 64 bits
            or a double, nesting deeper than `depth`, or a key that stands twice in one object (two readers of such a
            document may see different requests).
    """
    if body.count(b"[") + body.count(b"{") > depth:  # otherwise it cannot be too deep
        brackets = _STRING.sub(b"", body).translate(None, _NOT_BRACKETS)
        if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > depth:
            raise InvalidJSON(f"expected at most {depth} levels of nesting, got more")
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidJSON(f"expected JSON in UTF-8: {exc}") from None
    # orjson is the judge of syntax, three times as fast as what follows; only the standard reader shows doubled keys and
    # integers as they stand.
    return json.loads(body, object_pairs_hook=_object, parse_int=_integer)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InvalidJSON(f"expected each key once in an object, got {shown_name(twice)!r} twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) <= len(str(-(2**63))) and -(2**63) <= (value := int(digits)) < 2**64:
        return value
    raise InvalidJSON("expected integers of at most 64 bits, got a longer one")


def _check_type(headers: dict[bytes, bytes]) -> None:
    media_type = headers.get(b"content-type", b"").decode("latin-1")
    if not _MEDIA_TYPE.match(media_type):
        got = media_type if _NAMED_TYPE.fullmatch(media_type) else "another" if media_type else "none"
        raise UnsupportedMediaType(f"expected Content-Type application/json, got {got}")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMediaType("expected a body without Content-Encoding")


async def _read(headers: dict[bytes, bytes], receive: Receive, limit: int) -> bytes:
    if int(headers.get(b"content-length", b"0")) > limit:  # the server has refused what is no number
        await _drain(headers, receive)
        raise _too_large(limit)
    chunks: list[bytes] = []
    total, more = 0, True
    while more:
        chunk, more = await _next(receive)
        total += len(chunk)
        if total > limit:
            await _drain(headers, receive)
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def _next(receive: Receive) -> tuple[bytes, bool]:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientDisconnect
    return message.get("body", b""), message.get("more_body", False)


async def _drain(headers: dict[bytes, bytes], receive: Receive) -> None:
    """Read on without keeping anything, for a while: an answer to a client that still sends is lost in a reset.

    A client that asked first (`Expect: 100-continue`) sends nothing when it is told no.
    """
    if b"expect" in headers:
        return
    drained, more = 0, True
    try:
        async with asyncio.timeout(DRAIN_S):
            while more and drained < DRAIN_BYTES:
                chunk, more = await _next(receive)
                drained += len(chunk)
    except TimeoutError:
        return


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"expected at most {limit} bytes")
