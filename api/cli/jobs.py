"""`ai-provider jobs`: listed, shown, cancelled."""

from __future__ import annotations

from typing import Any

from api.cli import output
from api.cli.client import Client, Job
from api.cli.submit import answer_text, took_s


def list_jobs(*, url: str | None, status: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """Write a page of jobs, newest first."""
    with Client.from_options(url) as client:
        page = client.jobs(status=status, limit=limit, after=after)
    if as_json:
        output.dump(page)
        return
    if not page["data"] and output.stdout().is_terminal:
        output.say("No jobs.")
        return
    headings = ("id", "status", "model", "submitted", "took", "tokens", "cost", "provider")
    output.table(headings, list(map(_row, page["data"])), spare=("took", "cost", "submitted", "provider", "tokens"))
    if page["has_more"]:
        output.note(f"more: --after {page.get('next') or page['data'][-1]['id']}")


def show(job_id: str, *, url: str | None, as_json: bool) -> None:
    """Write all that is known of a job."""
    with Client.from_options(url) as client:
        job = client.job(job_id)
    if as_json:
        output.dump(job)
        return
    output.fields([(name, value) for name, value in _facts(job) if value])
    if job["status"] == "completed":
        output.say(f"\n{answer_text(job)}")


def cancel(job_id: str, *, url: str | None, as_json: bool) -> None:
    """Cancel a job and write how it ended: a job that was faster stays as it was."""
    with Client.from_options(url) as client:
        job = client.cancel(job_id)
    if as_json:
        output.dump(job)
    else:
        output.say(f"{job['id']} {job['status']}")


def _row(job: Job) -> tuple[str, ...]:
    usage, attempts = job.get("usage") or {}, job.get("attempts") or []
    return (
        job["id"],
        job["status"],
        job["model"],
        output.age(job["created_at"]),
        f"{took_s(job):.2f} s" if job["finished_at"] else "-",
        str(usage.get("total_tokens", "-")),
        output.usd(job["cost_usd"]) if job["finished_at"] and job["cost_usd"] is not None else "-",
        str(attempts[-1]["provider"]) if attempts else "-",
    )


def _facts(job: Job) -> list[tuple[str, str]]:
    usage, error = job.get("usage") or {}, job.get("error") or {}
    return [
        ("id", job["id"]),
        ("status", job["status"]),
        ("model", job["model"]),
        ("submitted", job["created_at"] or ""),
        ("started", job["started_at"] or ""),
        ("finished", job["finished_at"] or ""),
        ("took", f"{took_s(job):.2f} s" if job["finished_at"] else ""),
        ("tokens", str(usage.get("total_tokens", ""))),
        ("cost", output.usd(job["cost_usd"]) if job["finished_at"] else ""),
        ("waits", _waits(job)),
        ("cache", _cache(job)),
        ("error", f"{error.get('code')}: {error.get('message')}" if error else ""),
        ("metadata", " ".join(f"{key}={value}" for key, value in (job.get("metadata") or {}).items())),
        *[(f"attempt {place}", _attempt(one)) for place, one in enumerate(job.get("attempts") or (), 1)],
    ]


def _waits(job: Job) -> str:
    """Return why a queued job is not run now."""
    waits = job.get("waits") or {}
    return f"until {waits['until']} for a provider: {waits['reason'] or 'not told'}" if waits else ""


def _cache(job: Job) -> str:
    """Return where the answer came from, and what that spared."""
    if job.get("cache") not in {"hit", "joined"}:
        return job.get("cache") or ""
    saved = [] if job.get("saved_ms") is None else [f"{job['saved_ms'] / 1000:.2f} s"]
    saved.append("an unknown cost" if job.get("saved_usd") is None else output.usd(job["saved_usd"]))
    return f"{job['cache']}, saved {' and '.join(saved)}"


def _attempt(attempt: dict[str, Any]) -> str:
    """Return a call in one line: who, what came of it, how long, for how much, and how it stood when it was chosen."""
    status = f" ({attempt['status']})" if attempt["status"] not in {None, 200} else ""
    said = [f"{attempt['provider']}/{attempt['model']} {attempt['outcome']}{status} in {attempt['latency_ms']:.0f} ms"]
    if attempt["cost_usd"] != 0:
        said.append("cost unknown" if attempt["cost_usd"] is None else output.usd(attempt["cost_usd"]))
    if attempt.get("score") is not None:
        said.append(f"score {attempt['score']:.5f}")
    if attempt.get("breaker") not in {None, "closed"}:
        said.append(f"breaker {attempt['breaker']}")
    return ", ".join(said)
