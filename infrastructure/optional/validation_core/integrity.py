"""Stored bytes with their digest: what was changed on its way is told, not used."""

from __future__ import annotations

import hashlib
import hmac
from typing import ClassVar

from infrastructure.core.error_core import ServiceError

MARK = b"\xa5\x01"
"""Two bytes that begin neither JSON nor a zstd frame; the second is the version of the form."""
DIGEST_BYTES = 12


class DataCorrupt(ServiceError):
    """Stored data is not what was written."""

    code: ClassVar[str] = "data_corrupt"
    title: ClassVar[str] = "Stored data is damaged"


def seal(data: bytes) -> bytes:
    """Return data with its digest (BLAKE2b, 96 bits: against accidents, not against an attacker with the key to Redis)."""
    return MARK + _digest(data) + data


def unseal(sealed: bytes) -> bytes:
    """Return the data that `seal` was given.

    Raises:
        DataCorrupt: the bytes are not as they were sealed, or were not sealed at all.
    """
    start = len(MARK) + DIGEST_BYTES
    data = sealed[start:]
    if sealed[: len(MARK)] != MARK or not hmac.compare_digest(sealed[len(MARK) : start], _digest(data)):
        raise DataCorrupt("expected stored data to be as it was written, got other bytes")
    return data


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()
