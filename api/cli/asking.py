"""The demo's jobs over HTTP: submitted with bounded concurrency and waited for, those of an earlier run too."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx

from api.cli.client import ENDED, NO_ROOM, TIMEOUT_S, WAIT_S, Job, problem, retry_after
from api.cli.errors import CommandFailed
from api.cli.tally import Tally
from infrastructure.core.asyncio_core import end_tasks

SOURCE = {"source": "ai-provider demo"}
TRIES = 8
PAUSE_S = 0.5
STALL_S = 180.0
PAGE = 100
MAX_EARLIER = 10_000
UNAVAILABLE = 503


class Asker:
    """Runs questions as jobs of one service and counts them in `tally`."""

    def __init__(self, http: httpx.AsyncClient, tally: Tally, *, model: str, concurrency: int) -> None:
        self._http = http
        self._tally = tally
        self._model = model
        self._places = asyncio.Semaphore(concurrency)
        self._run = secrets.token_hex(8)

    async def unfinished(self) -> list[str]:
        """Return the ids of the demo's jobs that have not ended, oldest first."""
        found: list[str] = []
        for status in ("queued", "in_progress"):
            after: str | None = None
            while len(found) < MAX_EARLIER:
                params = {"status": status, "limit": PAGE, **({"after": after} if after else {})}
                page = await self._ask("GET", "/api/v1/jobs", params=params)
                found += [job["id"] for job in page["data"] if (job.get("metadata") or {}).items() >= SOURCE.items()]
                after = page.get("next") or (page["data"][-1]["id"] if page["data"] else None)
                if not page["has_more"] or after is None:
                    break
        return sorted(set(found))

    async def run(self, questions: Sequence[str], *, earlier: Sequence[str], keep: int) -> list[tuple[str, Job]]:
        """Run all questions and wait for the jobs of an earlier run; return the first `keep` with their jobs.

        Raises:
            CommandFailed: the service does not answer any more, refuses a job, or no job ends for 180 s.
        """
        left = [asyncio.create_task(self._wait_earlier(job_id)) for job_id in earlier]
        jobs = [asyncio.create_task(self._one(number, words)) for number, words in enumerate(questions)]
        try:
            await _all([*left, *jobs])
        finally:
            await end_tasks([*left, *jobs])
        return [(words, job.result()) for words, job in zip(questions, jobs[:keep], strict=False)]

    async def _one(self, number: int, question: str) -> Job:
        body = {"model": self._model, "messages": [{"role": "user", "content": question}], "metadata": SOURCE}
        async with self._places:
            self._tally.in_flight += 1
            try:
                headers = {"Idempotency-Key": f"demo-{self._run}-{number}", "Prefer": f"wait={WAIT_S}"}
                job = await self._until_end(await self._ask("POST", "/api/v1/completion", json=body, headers=headers))
            finally:
                self._tally.in_flight -= 1
        self._tally.add(job)
        return job

    async def _wait_earlier(self, job_id: str) -> None:
        async with self._places:
            self._tally.add_earlier(await self._until_end({"id": job_id, "status": "queued"}))

    async def _until_end(self, job: Job) -> Job:
        while job["status"] not in ENDED:  # bounded by the job's own deadline, and by STALL_S for all of them
            job = await self._ask("GET", f"/api/v1/jobs/{job['id']}", params={"wait": WAIT_S})
        return job

    async def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Ask, and ask again while the front door is away or the queue full: a submit carries an idempotency key.

        Raises:
            CommandFailed: it was away for TRIES pauses, or refuses what is asked.
        """
        tried = 0
        while tried < TRIES:
            tried += 1
            pause_s = PAUSE_S
            try:
                answer = await self._http.request(method, path, timeout=WAIT_S + TIMEOUT_S, **options)
                content = answer.json()
            except (httpx.HTTPError, ValueError):
                if tried == TRIES:
                    raise CommandFailed("the service does not answer any more") from None
            else:
                if answer.is_success and isinstance(content, dict):
                    return content
                if isinstance(content, dict) and content.get("code") in NO_ROOM:  # _all bounds how long that may go on
                    tried, pause_s = 0, retry_after(answer)
                elif answer.status_code != UNAVAILABLE or tried == TRIES:
                    raise CommandFailed(problem(content if isinstance(content, dict) else {}, answer.status_code))
            await asyncio.sleep(pause_s)
        raise CommandFailed("the service does not answer")


@asynccontextmanager
async def connection(url: str, *, api_key: str | None, concurrency: int) -> AsyncIterator[httpx.AsyncClient]:
    """Hold connections to the service, enough for every job in flight."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    limits = httpx.Limits(max_connections=concurrency + 4, max_keepalive_connections=concurrency + 4)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, trust_env=False) as http:
        yield http


async def _all(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Wait until all tasks have ended; the first failure ends the waiting.

    Raises:
        CommandFailed: none has ended for 180 s.
    """
    left = set(tasks)
    while left:
        ended, left = await asyncio.wait(left, timeout=STALL_S, return_when=asyncio.FIRST_COMPLETED)
        if not ended:
            raise CommandFailed(f"no job has ended for {STALL_S:.0f} s; {len(left)} are unfinished")
        for task in ended:
            task.result()
