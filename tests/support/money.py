"""What a run cost, told three ways: by the ledger, by the jobs, and by the wall of providers; and whether the three agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.support.outages import CALLS
from tests.support.steady import Seen
from tests.support.wall import PREFIX, Wall

ANSWER_TOKENS = 5
PROMPT_CHARACTERS = 40


def priced_body(number: int, **more: Any) -> dict[str, Any]:
    """Return a request whose answer costs the same as that of any other, and is like no other's."""
    text = f"what does it cost, number {number}".ljust(PROMPT_CHARACTERS, ".")
    return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": ANSWER_TOKENS, **more}


@dataclass
class Books:
    """The ledger's sums over all tenants, providers and days, and what is left in Redis of calls under way."""

    sums: dict[str, float] = field(default_factory=dict)
    left_open: list[str] = field(default_factory=list)

    def __getitem__(self, what: str) -> float:
        """Return a sum; 0 when nothing was booked."""
        return self.sums.get(what, 0)


def books_of(wall: Wall) -> Books:
    """Return the ledger as it stands."""
    books = Books()
    with wall.client() as client:
        for key in client.scan_iter(f"{PREFIX}:cost:*"):
            for name, amount in client.hgetall(key).items():
                what = name.decode().rpartition("|")[2]
                books.sums[what] = books[what] + float(amount)
        for pattern in ("attempts", "inflight"):
            books.left_open += [key.decode() for key in client.scan_iter(f"{PREFIX}:{pattern}:*")]
    return books


def billed(wall: Wall) -> int:
    """Return how many calls the providers have answered with 200: those are billed."""
    return int(wall.sandbox.counters()["by_status"].get("200", 0))


def all_calls(wall: Wall) -> int:
    """Return how many calls reached the providers."""
    return sum(wall.calls(one.name) for one in wall.providers)


def known_usd(attempts: Iterable[Any]) -> float:
    """Return what attempts are known to have cost."""
    return sum(one["cost_usd"] or 0.0 for one in attempts)


def miscounted(jobs: Sequence[Seen]) -> list[str]:
    """Return the jobs whose cost is not what their own attempts say."""
    return [
        f"{job.id} {job.status} {job.cache}: cost {job.cost_usd}, attempts {job.attempts}"
        for job in jobs
        if job.cost_usd is not None and abs(job.cost_usd - known_usd(job.attempts)) > 1e-12
    ]


def answer_usd(jobs: Sequence[Seen]) -> float:
    """Return what a good answer costs; AssertionError when they do not all cost the same."""
    prices = {round(one["cost_usd"], 12) for job in jobs for one in job.attempts if one["outcome"] == "ok"}
    assert len(prices) == 1, prices
    return float(prices.pop())


def faulty() -> list[dict[str, Any]]:
    """Return rules by which some calls fail: at once, never answered, with a 429, or with an answer that is none."""
    chances = (({"status": 503}, 0.06), ({"hang": True}, 0.03), ({"status": 429}, 0.01), ({"lie": "no-choices"}, 0.03))
    return [{"match": {"path": CALLS}, "action": action, "probability": chance} for action, chance in chances]
