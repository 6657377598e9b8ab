"""Requests and results as bytes: JSON, compressed with zstd level 3, sealed with a digest that is compared at read."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import zstandard

from infrastructure.optional.validation_core import DataCorrupt, seal, unseal

MAX_UNPACKED_BYTES = 268_435_456  # a compressed bomb of our own making is not expected; the bound is cheap
_local = threading.local()  # zstandard's contexts must not be shared between threads


def pack(value: Any) -> bytes:
    """Return a JSON value as compressed bytes."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=3)
    return seal(_local.compressor.compress(orjson.dumps(value)))


def unpack(data: bytes) -> Any:
    """Return the value that `pack` was given.

    Raises:
        DataCorrupt: the bytes are not what `pack` returned.
    """
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    frame = unseal(data)
    try:
        return orjson.loads(_local.decompressor.decompress(frame, max_output_size=MAX_UNPACKED_BYTES))
    except (zstandard.ZstdError, ValueError) as exc:
        raise DataCorrupt("expected stored data to be JSON, compressed, got other bytes") from exc


def unpacked_bytes(data: bytes) -> int:
    """Return how many bytes `unpack` would read, without unpacking; the packed size where the frame does not tell."""
    try:
        return max(len(data), zstandard.frame_content_size(unseal(data)))
    except (zstandard.ZstdError, DataCorrupt):
        return len(data)
