"""A value as bytes: JSON or bytes, compressed where that helps, sealed so that damage is noticed.

In a process's memory a value is a payload: one byte for its kind, then JSON or the bytes themselves; nobody can change it
through a reference that he was given. In Redis it is sealed:

    {id}|{seal}{digest}{ttl}{form}{body}

`id` is its entry in the log of changes and begins with the Redis time of the write in ms; `seal` is 8 hex digits of
SHA-1 over id and digest (both written by the script); `digest` is 16 bytes of BLAKE2b over name,
ttl, form and body; `ttl` is 4 bytes, ms; `form` says whether the body is compressed. So a value that was damaged, cut, or copied to another's key is
not believed. The digest finds accidents; against someone who can write to Redis it is no protection.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
import zstandard

from infrastructure.core.cache_core.names import Name, as_bytes
from infrastructure.core.cache_core.scopes import instant

COMPRESS_FROM = 256
MAX_BYTES = 64_000_000
_JSON, _BYTES = b"j", b"b"
_PLAIN, _ZSTD = b"0", b"1"
_STRICT = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
_TTL, _DIGEST, _SEAL = 4, 16, 8
_compressor = zstandard.ZstdCompressor(level=3)  # of one thread, as the cache is
_decompressor = zstandard.ZstdDecompressor()


class Damaged(ValueError):
    """What Redis holds is not what was written there."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A value read from Redis. `stamp` is its entry in the log, `written_ms` when it was written by Redis's clock."""

    payload: bytes
    stamp: bytes
    written_ms: int
    ttl_ms: int


def encode(value: Any) -> bytes:
    """Return a value as a payload.

    Raises:
        TypeError: it is neither bytes nor what JSON knows.
        ValueError: it is longer than 64 MB.
    """
    if isinstance(value, bytes):
        payload = _BYTES + value
    else:
        try:
            payload = _JSON + orjson.dumps(value, option=_STRICT)
        except orjson.JSONEncodeError as exc:
            raise TypeError(f"expected a cached value to be JSON or bytes, got {type(value).__name__}") from exc
    if len(payload) > MAX_BYTES:
        raise ValueError(f"expected a cached value to be at most {MAX_BYTES} bytes, got {len(payload)}")
    return payload


def decode(payload: bytes) -> Any:
    """Return the value that `encode` was given; a new one each time."""
    return payload[1:] if payload[:1] == _BYTES else orjson.loads(memoryview(payload)[1:])


def comes_back(value: Any, payload: bytes) -> bool:
    """Say whether decoding gives the same value: JSON has no NaN, no tuple, no UUID, no enum, and would change them."""
    return isinstance(value, bytes) or _same(value, decode(payload))


def _same(given: Any, got: Any) -> bool:
    if isinstance(given, dict):
        return (
            isinstance(got, dict) and given.keys() == got.keys() and all(_same(given[key], got[key]) for key in given)
        )
    if isinstance(given, list):
        return isinstance(got, list) and len(given) == len(got) and all(map(_same, given, got))
    return type(given) is type(got) and bool(given == got)


def seal(name: Name, payload: bytes, ttl_ms: int) -> tuple[bytes, bytes]:
    """Return the digest and what follows it: the script puts the id of the write and its seal before them."""
    body, form = payload, _PLAIN
    if len(payload) >= COMPRESS_FROM:
        packed = _compressor.compress(payload)
        if len(packed) < len(payload):
            body, form = packed, _ZSTD
    ttl = ttl_ms.to_bytes(_TTL, "big")
    return _digest(name, ttl, form, body), ttl + form + body


def open_sealed(name: Name, raw: bytes) -> Opened:
    """Return what was sealed under this name.

    Raises:
        Damaged: it is not what was written there.
    """
    stamp, bar, rest = raw[:48].partition(b"|")
    start = len(stamp) + 1
    if not bar or len(raw) < start + _SEAL + _DIGEST + _TTL + 1:
        raise Damaged("expected a sealed value, got something else")
    digest = raw[start + _SEAL : start + _SEAL + _DIGEST]
    start += _SEAL + _DIGEST
    ttl, form, body = raw[start : start + _TTL], raw[start + _TTL : start + _TTL + 1], raw[start + _TTL + 1 :]
    if rest[:_SEAL] != _sealed(stamp, digest) or digest != _digest(name, ttl, form, body):
        raise Damaged("expected the digest of a value to be its own, got another")
    try:
        payload, (written_ms, _) = body if form == _PLAIN else _unpacked(body), instant(stamp)
    except (zstandard.ZstdError, ValueError) as exc:
        raise Damaged("expected a value that can be unpacked, got another") from exc
    if payload[:1] not in {_JSON, _BYTES}:
        raise Damaged("expected a value of a kind that this version knows, got another")
    return Opened(payload=payload, stamp=stamp, written_ms=written_ms, ttl_ms=int.from_bytes(ttl, "big"))


def _unpacked(body: bytes) -> bytes:
    if zstandard.frame_content_size(body) > MAX_BYTES:  # `max_output_size` binds only where the frame tells no size
        raise ValueError("expected a value to unpack to at most 64 MB, got more")
    return _decompressor.decompress(body, max_output_size=MAX_BYTES)


def _digest(name: Name, ttl: bytes, form: bytes, body: bytes) -> bytes:
    digest = hashlib.blake2b(as_bytes(f"{name[0]}:{name[1]}\n"), digest_size=_DIGEST)
    digest.update(ttl + form)
    digest.update(body)
    return digest.digest()


def _sealed(stamp: bytes, digest: bytes) -> bytes:
    return hashlib.sha1(stamp + digest, usedforsecurity=False).hexdigest()[:_SEAL].encode()
