"""`ai-provider jobs`: listed, shown, cancelled."""

from __future__ import annotations

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
    output.table(
        ("id", "status", "model", "submitted", "took", "tokens", "cost", "provider"), list(map(_row, page["data"]))
    )
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
    attempts = [
        f"{attempt['provider']}/{attempt['model']} {attempt['outcome']} in {attempt['latency_ms']:.0f} ms"
        for attempt in job.get("attempts") or ()
    ]
    return [
        ("id", job["id"]),
        ("status", job["status"]),
        ("model", job["model"]),
        ("submitted", job["created_at"] or ""),
        ("started", job["started_at"] or ""),
        ("finished", job["finished_at"] or ""),
        ("took", f"{took_s(job):.2f} s" if job["finished_at"] else ""),
        ("attempts", "; ".join(attempts)),
        ("tokens", str(usage.get("total_tokens", ""))),
        ("cost", output.usd(job["cost_usd"]) if job["finished_at"] else ""),
        ("cache", job.get("cache") or ""),
        ("error", f"{error.get('code')}: {error.get('message')}" if error else ""),
        ("metadata", " ".join(f"{key}={value}" for key, value in (job.get("metadata") or {}).items())),
    ]
