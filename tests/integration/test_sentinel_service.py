"""The real front door, worker, upkeep and beat through a failover under load: the small form of `tests/chaos/sentinel.py`."""

from __future__ import annotations

from tests.chaos import sentinel


def test_a_failover_under_load_is_answered_202_or_503_and_ends_every_accepted_job() -> None:
    assert [row for row in sentinel.run(0.1) if not row.ok] == []
