"""`ai-provider jobs watch`: what happens to a job, line by line until it ends."""

from __future__ import annotations

from api.cli import output
from api.cli.client import Client
from api.cli.errors import EXIT_FAILURE, EXIT_INTERRUPTED, CommandFailed
from api.cli.events import Event, events
from api.cli.submit import facts


def run(job_id: str, *, url: str | None, as_json: bool) -> int:
    """Write a job's events as they come; return 0 when it completed.

    Raises:
        CommandFailed: it cannot be watched, or a person ended the watching.
    """
    last: Event | None = None
    with Client.from_options(url) as client:
        try:
            for event in events(client, job_id):
                last = event
                if as_json:
                    output.dump({"id": event.number, "event": event.name, **event.data})
                else:
                    output.say(_line(event), style=output.STYLES.get(event.data["status"], ""))
        except KeyboardInterrupt:
            raise CommandFailed(f"interrupted; job {job_id} goes on", status=EXIT_INTERRUPTED) from None
        job = (last.data.get("job") if last else None) or client.job(job_id)
    if job["status"] == "completed":
        if not as_json:
            output.note(facts(job))
        return 0
    error = job.get("error") or {}
    output.fail(f"job {job['id']} {job['status']}: {error.get('message') or error.get('code') or 'no reason given'}")
    return EXIT_FAILURE


def _line(event: Event) -> str:
    """Return an event in one line: when, what, of which delivery."""
    data = event.data
    delivery = f" delivery {data['delivery']}" if data.get("delivery") else ""
    until = f" until {data['until']}" if data.get("until") else ""
    why = f": {data['reason']}" if data.get("reason") else ""
    return f"{data['at']} {event.name.removeprefix('job.')}{delivery}{until}{why}"
