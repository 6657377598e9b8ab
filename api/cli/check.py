"""`ai-provider check`: everything looked at that can be without changing it, within ten seconds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Sequence
from typing import Any

from rich.text import Text

from api.cli import output
from api.cli.checks import configuration, redis, service
from api.cli.client import service_url
from api.cli.errors import EXIT_FAILURE
from infrastructure.core.asyncio_core import within
from infrastructure.core.config_core import Sources, load
from infrastructure.core.error_core import ConfigError
from infrastructure.core.redis_check import Finding, Status

WITHIN_S = 9.0
MARKS = {Status.PASSED: ("ok", "green"), Status.WARNED: ("warn", "yellow"), Status.FAILED: ("FAIL", "bold red"),
         Status.SKIPPED: ("-", "dim")}  # fmt: skip


def run(*, url: str | None, as_json: bool) -> int:
    """Check, write the findings, and return 0, or 1 when something failed."""
    found = asyncio.run(_findings(url))
    failed = any(one.status is Status.FAILED for one in found)
    if as_json:
        output.dump({
            "object": "check",
            "ok": not failed,
            "summary": {status.value: sum(one.status is status for one in found) for status in Status},
            "findings": [one.as_json() for one in found],
        })  # fmt: skip
    else:
        _write(found)
    return EXIT_FAILURE if failed else 0


async def _findings(url: str | None) -> list[Finding]:
    try:
        loaded = load()
    except ConfigError as exc:
        return configuration.invalid(exc)
    asked = await asyncio.gather(
        _in_time("redis", redis.findings(loaded.settings)),
        _in_time("service", service.findings(service_url(url))),
    )
    return [*configuration.findings(loaded, Sources()), *(one for part in asked for one in part)]


async def _in_time(section: str, asking: Coroutine[Any, Any, list[Finding]]) -> list[Finding]:
    try:
        return await within(asking, WITHIN_S)
    except TimeoutError:
        found = f"no answer within {WITHIN_S:g} s"
        return [Finding(id=f"{section}.in_time", status=Status.FAILED, found=found, mend="see the network")]


def _write(found: Sequence[Finding]) -> None:
    """Write the findings for a person, the stake and the mending under what needs it; a pipe gets a line each."""
    console = output.stdout()
    if not console.is_terminal:
        output.table((), [(one.status.value, one.id, one.found, one.stake, one.mend) for one in found])
    else:
        width = max(len(one.id) for one in found)
        for one in found:
            mark, style = MARKS[one.status]
            console.print(
                Text.assemble((f"{mark:<5}", style), (f"{one.id:<{width}}  ", "bold"), output.harmless(one.found))
            )
            if one.status in {Status.WARNED, Status.FAILED}:
                for word, text in (("at stake", one.stake), ("mend", one.mend)):
                    if text:
                        console.print(Text.assemble((f"      {word}: ", "dim"), output.harmless(text)))
    counts = Counter(one.status for one in found)
    output.note(", ".join(f"{counts[status]} {status.value}" for status in Status if counts[status]))
