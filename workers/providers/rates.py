"""What the headers of an answer say of time and of limits: Retry-After in all its forms, and what is left of each limit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from workers.jobs.gate.models import Rates

MAX_RETRY_AFTER_S = 3_600
_MOST = 1 << 40
_SECONDS = re.compile(r"(-?)([0-9]{1,12}(?:\.[0-9]{1,6})?)\Z")
_COUNT = re.compile(r"[0-9]{1,12}\Z")
# OpenAI's durations: 6m0s, 1h2m3.5s, 17ms, 1d.
_DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,9}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?\Z"
)
_PARTS_MS = (86_400_000, 3_600_000, 60_000, 1_000, 1)


def retry_after_s(headers: Mapping[str, str], *, now: datetime) -> float | None:
    """Return how long not to call, from 0 to `MAX_RETRY_AFTER_S` seconds; None when not said, or garbage (RFC 9110).

    A date is measured from the answer's own Date, which comes from the same clock; without one from `now` (aware).
    """
    exact = headers.get("retry-after-ms")
    if exact is not None and (found := _SECONDS.match(exact.strip())):
        return 0.0 if found[1] else min(float(found[2]) / 1_000, MAX_RETRY_AFTER_S)
    text = headers.get("retry-after")
    if text is None:
        return None
    if found := _SECONDS.match(text.strip()):
        return 0.0 if found[1] else min(float(found[2]), MAX_RETRY_AFTER_S)
    moment = _http_date(text)
    if moment is None:
        return None
    since = _http_date(headers.get("date", "")) or now
    return min(max((moment - since).total_seconds(), 0.0), MAX_RETRY_AFTER_S)


def rates(headers: Mapping[str, str], *, now: datetime) -> Rates | None:
    """Return what an answer says of our limits (`x-ratelimit-*`, `anthropic-ratelimit-*`); None when it says nothing."""
    if not any("ratelimit" in name for name in headers):
        return None
    since = _http_date(headers.get("date", "")) or now
    found = {
        field: value
        for what in ("requests", "tokens")
        for field, value in (_openai(headers, what, since) | _anthropic(headers, what, since)).items()
        if value is not None
    }
    return Rates(**found) if found else None


def _openai(headers: Mapping[str, str], what: str, since: datetime) -> dict[str, int | None]:
    return {
        f"{what}_limit": _count(headers.get(f"x-ratelimit-limit-{what}")),
        f"{what}_left": _count(headers.get(f"x-ratelimit-remaining-{what}")),
        f"{what}_reset_ms": _reset_ms(headers.get(f"x-ratelimit-reset-{what}"), since),
    }


def _anthropic(headers: Mapping[str, str], what: str, since: datetime) -> dict[str, int | None]:
    said = {
        f"{what}_limit": _count(headers.get(f"anthropic-ratelimit-{what}-limit")),
        f"{what}_left": _count(headers.get(f"anthropic-ratelimit-{what}-remaining")),
        f"{what}_reset_ms": _reset_ms(headers.get(f"anthropic-ratelimit-{what}-reset"), since),
    }
    return {name: value for name, value in said.items() if value is not None}


def _count(text: str | None) -> int | None:
    return int(text.strip()) if text and _COUNT.match(text.strip()) else None


def _reset_ms(text: str | None, since: datetime) -> int | None:
    """Return a reset as milliseconds from the answer on: seconds, OpenAI's durations, or an instant (RFC 3339)."""
    if not (text := (text or "").strip()):
        return None
    if seconds := _SECONDS.match(text):
        return 0 if seconds[1] else min(round(float(seconds[2]) * 1_000), _MOST)
    if (duration := _DURATION.match(text)) and any(duration.groups()):
        parts = zip(duration.groups(), _PARTS_MS, strict=True)
        return min(round(sum(float(part) * unit for part, unit in parts if part)), _MOST)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0, min(round((moment - since).total_seconds() * 1_000), _MOST))


def _http_date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text.strip()[:64])
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
