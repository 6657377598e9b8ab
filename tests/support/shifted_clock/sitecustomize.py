"""Shifts the calendar of a process: with this folder on PYTHONPATH, `AIP_TEST_CLOCK_SHIFT_S` seconds; durations stay true.

`datetime.datetime` becomes a class that makes true datetimes only, so that whoever checks types sees no difference.
"""

from __future__ import annotations

import datetime as dt
import os
import time
from typing import Any

SHIFT_S = float(os.environ.get("AIP_TEST_CLOCK_SHIFT_S", "0"))
_true_time, _true_time_ns = time.time, time.time_ns
_true = dt.datetime
_by = dt.timedelta(seconds=SHIFT_S)


class _AsTrue(type):
    def __instancecheck__(cls, one: object) -> bool:
        return isinstance(one, _true)

    def __subclasscheck__(cls, one: type) -> bool:
        return issubclass(one, _true)


class _Shifted(dt.datetime, metaclass=_AsTrue):
    def __new__(cls, *parts: Any, **named: Any) -> Any:
        return _true.__new__(_true, *parts, **named)

    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return _true.now(tz) + _by

    @classmethod
    def utcnow(cls) -> Any:
        return _true.now(dt.UTC).replace(tzinfo=None) + _by

    @classmethod
    def today(cls) -> Any:
        return _true.now() + _by


def _defaulting(true: Any) -> Any:
    return lambda *seconds: true(*(seconds if seconds and seconds[0] is not None else (time.time(),)))


def _strftime(true: Any) -> Any:
    return lambda form, *at: true(form, *(at or (time.localtime(),)))


if SHIFT_S:
    time.time = lambda: _true_time() + SHIFT_S
    time.time_ns = lambda: _true_time_ns() + int(SHIFT_S * 1e9)
    time.localtime, time.gmtime = _defaulting(time.localtime), _defaulting(time.gmtime)
    time.strftime = _strftime(time.strftime)
    dt.datetime = _Shifted  # type: ignore[misc]
