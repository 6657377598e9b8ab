"""What the demo shows: progress while it runs, then answers and a summary."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from api.cli import output
from api.cli.client import Job
from api.cli.submit import answer_text
from api.cli.tally import Tally, percentile
from infrastructure.core.asyncio_core import end_tasks

PER_S = 10
PLAIN_EVERY_S = 2.0
BAR_WIDTH = 50
MONEY_AND_TIME = 5  # of the figures, what stands in the second row
ANSWER_CHARACTERS = 320


@asynccontextmanager
async def step(text: str) -> AsyncIterator[None]:
    """Show what is being done: with a spinner on a terminal, else as a line."""
    console = output.stdout()
    if not console.is_terminal:
        output.say(text)
        yield
        return
    with console.status(Text(text)):
        yield


@asynccontextmanager
async def progress(tally: Tally) -> AsyncIterator[None]:
    """Show the tally while the body runs: live on a terminal, else as a line every 2 s and at the end."""
    tally.start()
    painter = asyncio.create_task(_live(tally) if output.stdout().is_terminal else _plain(tally))
    try:
        yield
    finally:
        tally.stop()
        await end_tasks([painter])


async def _live(tally: Tally) -> None:
    spinner = Spinner("dots", style="cyan")
    with Live(_drawn(tally, spinner), console=output.stdout(), auto_refresh=False) as live:
        try:
            while True:
                live.update(_drawn(tally, spinner), refresh=True)
                await asyncio.sleep(1 / PER_S)
        finally:
            live.update(_drawn(tally, None), refresh=True)


async def _plain(tally: Tally) -> None:
    try:
        while True:
            await asyncio.sleep(PLAIN_EVERY_S)
            output.say(line(tally))
    finally:
        output.say(line(tally))


def line(tally: Tally) -> str:
    """Return the state of a run as one line."""
    return ", ".join(f"{value} {name}" for name, value in _figures(tally))


def _figures(tally: Tally) -> list[tuple[str, str]]:
    figures = [("done", f"{tally.done}/{tally.total}"), ("failed", str(tally.failed))]
    if tally.earlier:
        figures.append(("of an earlier run", f"{tally.earlier_done + tally.earlier_failed}/{tally.earlier}"))
    return [
        *figures,
        ("in flight", str(tally.in_flight)),
        ("tokens", f"{tally.tokens:,}"),
        ("cost by its price list" if _all_sandbox(tally) else "cost", output.usd(round(tally.cost_usd, 6))),
        ("from cache or shared", str(tally.hits + tally.joined)),
        ("s", f"{tally.elapsed_s:.1f}"),
        ("jobs/s", f"{tally.per_s:.1f}"),
    ]


def _drawn(tally: Tally, spinner: Spinner | None) -> Group:
    bar = Table.grid(padding=(0, 1))
    ended = tally.done + tally.failed
    mark = spinner if spinner is not None else Text("✓" if ended == tally.total else "!", style="green")
    bar.add_row(mark, ProgressBar(total=tally.total, completed=ended, width=BAR_WIDTH), f"{ended}/{tally.total}")
    return Group(bar, *_rows(tally, loading=spinner is not None and ended == 0))


def _rows(tally: Tally, *, loading: bool) -> list[Text]:
    hint = Text("  The worker takes some seconds to load, once; the jobs wait in line.", style="dim")
    figures = _figures(tally)
    half = len(figures) - MONEY_AND_TIME
    rows = [_row(figures[:half], failed=tally.failed > 0), _row(figures[half:], failed=False)]
    return [*rows, hint] if loading else rows


def _row(figures: Sequence[tuple[str, str]], *, failed: bool) -> Text:
    row = Text(" ")
    for name, value in figures:
        row.append_text(Text.assemble(" ", (value, "bold red" if failed and name == "failed" else "bold"), f" {name} "))
    return row


def answers(kept: Sequence[tuple[str, Job]]) -> None:
    """Show questions with their answers."""
    for question, job in kept:
        output.say()
        output.say(f"Q  {question}", style="bold")
        output.say(f"A  {_short(answer_text(job)) or '(none: ' + job['status'] + ')'}")


def summary(tally: Tally) -> None:
    """Show what the run came to."""
    output.say()
    output.fields([(name, value) for name, value in _summary(tally) if value])
    output.say()


def _summary(tally: Tally) -> list[tuple[str, str]]:
    providers = ", ".join(f"{name} ({count})" for name, count in tally.providers.most_common())
    unknown = f", unknown for {tally.unknown_costs}" if tally.unknown_costs else ""
    free = " by its price list; nothing was charged" if _all_sandbox(tally) else ""
    return [
        ("Jobs", f"{tally.done} completed, {tally.failed} failed{_reasons(tally)}"),
        ("Earlier run", f"{tally.earlier_done} completed, {tally.earlier_failed} not" if tally.earlier else ""),
        ("Latency", f"{_percentiles(tally.answer_s)} from claim to answer"),
        ("In line", f"{_percentiles(tally.line_s)} from submit to claim (a worker takes seconds to load, once)"),
        ("Tokens", f"{tally.tokens:,}"),
        ("Cost", f"{output.usd(round(tally.cost_usd, 6))}{free}{unknown}"),
        ("Cache", f"{tally.hits} answers from it, {tally.joined} shared with an equal question that was under way"),
        ("Providers", providers),
        ("Elapsed", f"{tally.elapsed_s:.1f} s, {tally.per_s:.1f} jobs/s"),
    ]


def _percentiles(seconds: Sequence[float]) -> str:
    return f"p50 {percentile(seconds, 0.5):.2f} s, p95 {percentile(seconds, 0.95):.2f} s"


def _reasons(tally: Tally) -> str:
    if not tally.failures:
        return ""
    return " (" + ", ".join(f"{code} {count}" for code, count in tally.failures.most_common(5)) + ")"


def _all_sandbox(tally: Tally) -> bool:
    return bool(tally.providers) and all(name.startswith("sandbox") for name in tally.providers)


def _short(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= ANSWER_CHARACTERS else words[: ANSWER_CHARACTERS - 1].rstrip() + "…"
