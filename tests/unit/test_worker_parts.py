"""Small parts of a worker: what a task says of its job, and how large a packed body is."""

from __future__ import annotations

import pytest
from billiard.exceptions import Terminated

from infrastructure.core.config_core import load
from infrastructure.core.error_core import ConfigError
from workers.jobs.codec import pack, unpacked_bytes
from workers.tasks.completions import JobFailed, truth


def test_a_task_says_what_its_job_came_to() -> None:
    done = {"job": "job_1", "status": "completed", "error": None}

    assert truth(done) == done
    assert truth({"status": "nothing_ready"}) == {"status": "nothing_ready"}
    for status in ("failed", "expired"):
        with pytest.raises(JobFailed, match="job_1: why"):
            truth({"job": "job_1", "status": status, "error": "why"})
    with pytest.raises(Terminated):
        truth({"job": "job_1", "status": "cancelled"})


def test_a_body_counts_with_its_unpacked_size() -> None:
    body = pack({"prompt": "0" * 1_000_000})

    assert len(body) < 10_000
    assert 1_000_000 < unpacked_bytes(body) < 1_000_100


def test_a_soft_limit_above_the_hard_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="soft_limit_s"):
        load({"AI_PROVIDER_WORKER_SOFT_LIMIT_S": "10", "AI_PROVIDER_WORKER_HARD_LIMIT_S": "5"})
