"""`ai-provider jobs dead`: the dead letters, listed and retried."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.cli import output
from api.cli.client import Client

PAGE = 100
MOST_PAGES = 1_000


def list_dead(*, url: str | None, limit: int, after: str | None, as_json: bool) -> None:
    """Write a page of dead letters, the latest first."""
    with Client.from_options(url) as client:
        page = client.dead(limit=limit, after=after)
    if as_json:
        output.dump(page)
        return
    if not page["data"] and output.stdout().is_terminal:
        output.say("No dead letters.")
        return
    output.table(
        ("id", "tenant", "model", "died", "deaths", "provider", "retried as"), [_row(letter) for letter in page["data"]]
    )
    if page["has_more"]:
        output.note(f"more: --after {page['next']}")


def retry(job_id: str, *, url: str | None, as_json: bool) -> None:
    """Retry a dead letter and write the new job's id; asked again, it is the same one."""
    with Client.from_options(url) as client:
        job = client.retry(job_id)
    if as_json:
        output.dump(job)
    else:
        output.say(job["id"])


def retry_all(*, url: str | None, as_json: bool) -> None:
    """Retry every dead letter that was not retried yet, and write each with its new job."""
    with Client.from_options(url) as client:
        left = [letter["id"] for letter in _all(client) if letter["retried_as"] is None]
        for job_id in left:
            job = client.retry(job_id)
            if as_json:
                output.dump(job)
            else:
                output.say(f"{job_id} retried as {job['id']}")
    if not left and not as_json:
        output.note("nothing to retry")


def _all(client: Client) -> Iterator[dict[str, Any]]:
    after: str | None = None
    for _ in range(MOST_PAGES):
        page = client.dead(limit=PAGE, after=after)
        yield from page["data"]
        after = page["next"]
        if after is None:
            return


def _row(letter: dict[str, Any]) -> tuple[str, ...]:
    attempts = letter.get("attempts") or []
    return (
        letter["id"],
        letter["tenant"],
        letter["model"],
        output.age(letter["finished_at"]),
        str(letter["deaths"]),
        str(attempts[-1]["provider"]) if attempts else "-",
        letter["retried_as"] or "-",
    )
