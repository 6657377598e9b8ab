"""1,000 reloads, every tenth from a bad file, under 200 requests a second: what failed, what saw two versions."""

from __future__ import annotations

import asyncio
import contextlib
import io
import tempfile
from pathlib import Path

from tests.benchmarks.table import Table
from tests.support.redis_server import RedisServer
from tests.support.reload_load import run

RELOADS = 1_000
REQUESTS_PER_S = 200.0


def measure(reloads: int = RELOADS) -> None:
    """Print what happened."""
    server = RedisServer().start()
    try:
        with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):  # its log
            seen = asyncio.run(run(server.url, Path(folder), reloads=reloads, requests_per_s=REQUESTS_PER_S))
    finally:
        server.remove()
    table = Table(
        f"{reloads} reloads, every tenth bad, under {REQUESTS_PER_S:.0f} requests/s, one process",
        ["taken", "refused", "requests", "requests/s", "failed", "saw two versions", "versions seen", "slowest ms"],
    )
    failed = sum(count for status, count in seen.statuses.items() if status >= 400)
    table.row(seen.good, seen.refused, seen.requests, f"{seen.requests / seen.seconds:.0f}", failed, len(seen.mixed),
              len(seen.versions), f"{seen.slowest_ms:.0f}")  # fmt: skip
    table.show()
