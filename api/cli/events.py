"""A job's events as the command line reads them: one stream of values, over however many connections."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx

from api.cli.client import ENDED, Client, NoService
from api.cli.errors import CommandFailed

TRIES = 30
PAUSE_S = 2.0
SILENCE_S = 45.0  # three keep-alives
AGAIN = frozenset({429, 502, 503, 504})
ENDED_BEFORE = 204


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event; `data` is what came with it."""

    number: int
    name: str
    data: dict[str, Any]


def events(client: Client, job_id: str) -> Iterator[Event]:
    """Give a job's events up to its end, each once; a lost connection is made again, behind the last event that came.

    Raises:
        CommandFailed: there is no such job, or the service was away for TRIES attempts.
    """
    after, failed, connected = 0, 0, False
    while failed < TRIES:
        try:
            with client.events(job_id, after=after, silence_s=SILENCE_S) as answer:
                connected = True
                if answer.status_code == ENDED_BEFORE:
                    return
                if answer.status_code not in AGAIN:
                    for event in _read(client.lines(answer)):
                        after, failed = event.number, 0
                        yield event
                        if event.data.get("status") in ENDED:
                            return
        except httpx.HTTPError as exc:
            if not connected:
                raise NoService(f"no service answers at {client.url}: start it with `ai-provider up`") from exc
        failed += 1
        time.sleep(PAUSE_S)
    raise CommandFailed(f"the service does not answer any more; job {job_id} goes on without being watched")


def _read(lines: Iterable[str]) -> Iterator[Event]:
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            if "data" in fields and "id" in fields:
                yield Event(number=int(fields["id"]), name=fields.get("event", ""), data=json.loads(fields["data"]))
            fields = {}
