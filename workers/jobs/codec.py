"""Requests and results as bytes: JSON, compressed with zstd level 3."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import zstandard

MAX_UNPACKED_BYTES = 268_435_456  # a compressed bomb of our own making is not expected; the bound is cheap
_local = threading.local()  # zstandard's contexts must not be shared between threads


def pack(value: Any) -> bytes:
    """Return a JSON value as compressed bytes."""
    if not hasattr(_local, "compressor"):
        _local.compressor = zstandard.ZstdCompressor(level=3)
    packed: bytes = _local.compressor.compress(orjson.dumps(value))
    return packed


def unpack(data: bytes) -> Any:
    """Return the value that `pack` was given."""
    if not hasattr(_local, "decompressor"):
        _local.decompressor = zstandard.ZstdDecompressor()
    return orjson.loads(_local.decompressor.decompress(data, max_output_size=MAX_UNPACKED_BYTES))


def unpacked_bytes(data: bytes) -> int:
    """Return how many bytes `unpack` would read, without unpacking; the packed size where the frame does not tell."""
    return max(len(data), zstandard.frame_content_size(data))
