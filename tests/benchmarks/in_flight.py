"""How many calls one worker process holds: 2,000 jobs waiting, a provider that takes 20 s, beside Celery's own pools."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

from tests.benchmarks.table import Table
from tests.support.fleet import ROOT, Fleet, usage, watch_peak
from tests.support.load import finished, submit_all, times

JOBS = 2_000
LATENCY_S = 20.0
WINDOW_S = 60.0
PREFORK_PROCESSES = 32


def measure(jobs: int = JOBS, latency_s: float = LATENCY_S) -> None:
    """Print the three pools side by side."""
    table = Table(
        f"{jobs} calls of {latency_s:.0f} s, one worker (this service) and {WINDOW_S:.0f} s windows (stock pools)",
        ["pool", "peak in flight", "done", "in s", "jobs/s", "resident MB", "MB above idle a call", "CPU ms a job"],
    )
    ours(table, jobs, latency_s)
    stock(table, "threads", jobs, latency_s, concurrency=jobs)
    stock(table, "prefork", jobs, latency_s, concurrency=PREFORK_PROCESSES)
    table.show()


def ours(table: Table, jobs: int, latency_s: float) -> None:
    """Measure this service: first claim to last result, by Redis time."""
    with Fleet(latency_s=latency_s, worker_env={"AI_PROVIDER_WORKER_CONCURRENCY": str(jobs)}) as fleet:
        fleet.start_web()
        ids = asyncio.run(submit_all(fleet.url, [f"question {n}" for n in range(jobs)]))
        worker = fleet.start_worker()
        idle = watch_peak(worker, lambda: fleet.sandbox.counters()["requests"] > 0, within_s=60)
        before = usage(worker).cpu_s
        peak = watch_peak(worker, lambda: finished(fleet.redis.url, "aip", ids) == jobs, within_s=180)
        cpu = usage(worker).cpu_s - before
        started, ended, states = times(fleet.redis.url, "aip", ids)
        seconds = (max(ended) - min(started)) / 1000
        in_flight = fleet.sandbox.counters()["peak_in_flight"]
        table.row("this service", in_flight, states.get("completed", 0), f"{seconds:.1f}", f"{jobs / seconds:.1f}",
                  f"{peak:.0f}", f"{(peak - idle) / max(in_flight, 1):.3f}", f"{cpu / jobs * 1e3:.1f}")  # fmt: skip


def answered(fleet: Fleet) -> int:
    """Return how many calls the sandbox has answered."""
    found = fleet.sandbox.counters()
    return int(found["requests"] - found["in_flight"])


def stock(table: Table, pool: str, jobs: int, latency_s: float, *, concurrency: int) -> None:
    """Measure a bare Celery worker whose task makes the same call with LiteLLM's synchronous function."""
    with Fleet(latency_s=latency_s) as fleet:
        environment = fleet.environment()
        subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.peer_app", str(jobs)], env=environment, cwd=ROOT, check=True
        )
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "tests.benchmarks.peer_app", "worker", "-P", pool, "-c", str(concurrency),
             "--without-mingle", "--without-gossip", "-l", "error"],
            env=environment, cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
        try:
            idle = watch_peak(worker, lambda: fleet.sandbox.counters()["requests"] > 0, within_s=120)
            before, since = usage(worker).cpu_s, time.monotonic()
            peak = watch_peak(worker, lambda: time.monotonic() - since > WINDOW_S or answered(fleet) >= jobs, within_s=WINDOW_S + 30)  # fmt: skip
            seconds, found, cpu = time.monotonic() - since, fleet.sandbox.counters(), usage(worker).cpu_s - before
        finally:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(10)
        done = found["requests"] - found["in_flight"]
        table.row(f"celery {pool} -c {concurrency}", found["peak_in_flight"], done, f"{seconds:.1f}", f"{done / seconds:.1f}",
                  f"{peak:.0f}", f"{(peak - idle) / max(found['peak_in_flight'], 1):.3f}", f"{cpu / max(done, 1) * 1e3:.1f}")  # fmt: skip
