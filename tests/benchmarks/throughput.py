"""Jobs a second end to end with a provider that answers at once, beside bare LiteLLM in the same run."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from tests.benchmarks.table import Table
from tests.support.fleet import ROOT, Fleet, usage, watch_peak
from tests.support.load import finished, stopwatch, submit_all

JOBS = 3_000
WARM_UP = 200


def measure(jobs: int = JOBS) -> None:
    """Print jobs/s and CPU a job, and what of it is LiteLLM's own."""
    with Fleet() as fleet:
        fleet.start_web()
        fleet.start_worker()
        _run(fleet, WARM_UP)
        web, worker = usage(fleet.web).cpu_s, usage(fleet.worker).cpu_s
        seconds = _run(fleet, jobs)
        web_ms = (usage(fleet.web).cpu_s - web) / jobs * 1e3
        worker_ms = (usage(fleet.worker).cpu_s - worker) / jobs * 1e3
        bare_rate, bare_ms = _bare(fleet, jobs)
    table = Table(
        f"{jobs} jobs of 0 s latency over HTTP, one worker, submitted while they run",
        ["", "jobs/s", "front door CPU ms", "worker CPU ms"],
    )
    table.row("this service", f"{jobs / seconds:.0f}", f"{web_ms:.2f}", f"{worker_ms:.2f}")
    table.row("bare litellm.acompletion, one process", f"{bare_rate:.0f}", "-", f"{bare_ms:.2f}")
    table.row("ratio", f"{jobs / seconds / bare_rate:.2f}", "-", f"{worker_ms / bare_ms:.2f}")
    table.show()


def _run(fleet: Fleet, jobs: int) -> float:
    began = stopwatch()
    ids = asyncio.run(submit_all(fleet.url, [f"question {n} of {jobs}" for n in range(jobs)]))
    watch_peak(fleet.worker, lambda: finished(fleet.redis.url, "aip", ids) == jobs, within_s=300)
    return stopwatch() - began


def _bare(fleet: Fleet, calls: int) -> tuple[float, float]:
    command = [sys.executable, "-m", "tests.benchmarks.bare_litellm", fleet.sandbox.url, str(calls)]
    done = subprocess.run(command, cwd=ROOT, env=fleet.environment(), check=True, capture_output=True, text=True)
    rate, cpu_ms = done.stdout.split()
    return float(rate), float(cpu_ms)
