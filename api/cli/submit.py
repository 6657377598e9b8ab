"""`ai-provider submit`: one completion, from the words to the answer."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.cli import output
from api.cli.client import ENDED, Client, Job, Refusal
from api.cli.errors import EXIT_FAILURE, CommandFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the person asked for. `timeout_s` bounds the waiting, not the job."""

    prompt: str
    model: str
    system: str | None
    priority: str | None
    wait: bool
    timeout_s: float
    url: str | None
    as_json: bool


def run(wanted: Wanted) -> int:
    """Submit; return 0 when the job was taken and, where it is waited for, completed.

    Raises:
        CommandFailed: the service did not take it.
    """
    with Client.from_options(wanted.url) as client:
        job = client.submit(_body(wanted), wait_s=wanted.timeout_s if wanted.wait else 0, refused=_say_refused)
    if wanted.as_json:
        output.dump(job)
    elif wanted.wait:
        show_answer(job)
    else:
        output.say(job["id"])
    return 0 if not wanted.wait or job["status"] == "completed" else EXIT_FAILURE


def _say_refused(refusal: Refusal) -> None:
    output.note(f"No room in the queue yet: trying again in {refusal.retry_after_s:.0f} s.")


def show_answer(job: Job) -> None:
    """Write a job's answer, and beside it what it took; or how the job ended otherwise."""
    if job["status"] == "completed":
        output.say(answer_text(job))
        output.note(facts(job))
    elif job["status"] in ENDED:
        error = job.get("error") or {}
        output.fail(
            f"job {job['id']} {job['status']}: {error.get('message') or error.get('code') or 'no reason given'}"
        )
    else:
        output.fail(f"job {job['id']} is still {job['status']}: see `{output.command_name()} jobs show {job['id']}`")


def answer_text(job: Job) -> str:
    """Return the words of the answer's first choice; a tool call is shown as JSON."""
    choices = (job.get("result") or {}).get("choices") or [{}]
    message: dict[str, Any] = choices[0].get("message") or {}
    return str(message.get("content") or message.get("tool_calls") or "")


def facts(job: Job) -> str:
    """Return what the answer took, in one line."""
    attempts = job.get("attempts") or [{}]
    last = attempts[-1]
    tokens = (job.get("usage") or {}).get("total_tokens")
    parts = [
        job["id"],
        f"{last['provider']}/{last['model']}" if last.get("provider") else job["model"],
        f"{tokens} tokens" if tokens is not None else "",
        "cost unknown" if job.get("cost_usd") is None else output.usd(job["cost_usd"]),
        f"{took_s(job):.2f} s",
        f"cache {job['cache']}" if job.get("cache") in {"hit", "joined"} else "",
    ]
    return " · ".join(part for part in parts if part)


def took_s(job: Job, *, since: str = "created_at") -> float:
    """Return the seconds from the submit (or another instant of the job) to the end, by Redis; 0 when one is missing."""
    if not job.get("finished_at") or not job.get(since):
        return 0.0
    return (datetime.fromisoformat(job["finished_at"]) - datetime.fromisoformat(job[since])).total_seconds()


def _body(wanted: Wanted) -> dict[str, Any]:
    prompt = sys.stdin.read() if wanted.prompt == "-" else wanted.prompt
    if not prompt.strip():
        raise CommandFailed("expected words to submit, got none")
    messages = [{"role": "user", "content": prompt}]
    if wanted.system:
        messages.insert(0, {"role": "system", "content": wanted.system})
    body: dict[str, Any] = {"model": wanted.model, "messages": messages}
    return body if wanted.priority is None else {**body, "priority": wanted.priority}
