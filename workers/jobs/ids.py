"""Names that no other thing has: ids of jobs, which sort as they were made, and nonces of claims, writes and attempts."""

from __future__ import annotations

import itertools
import os
import re
import secrets
import time

_FORM = re.compile(r"job_[0-9a-f]{32}\Z")


def new_job_id(now_ms: int | None = None) -> str:
    """Return a new id: 48 bits of Unix milliseconds, then 80 random bits (the layout of a ULID)."""
    stamp = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    return f"job_{stamp:012x}{secrets.token_hex(10)}"


_numbers = itertools.count(1)
_token = secrets.token_hex(8)


def new_nonce() -> str:
    """Return a text that no other process or call was given: 64 random bits of the process, its id, and a number.

    Not to be used where it must not be guessed. Random bits for each cost a system call, and with it the interpreter lock.
    """
    return f"{_token}{os.getpid():x}.{next(_numbers):x}"


def is_job_id(text: str) -> bool:
    """Say whether a text has the form of an id."""
    return _FORM.match(text) is not None


def stamp_ms(job_id: str) -> int:
    """Return the Unix milliseconds in an id; 0 for a text that is none."""
    return int(job_id[4:16], 16) if is_job_id(job_id) else 0
