"""`ai-provider demo`: the whole service started, a file of questions run through it, answers and figures shown, all stopped."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from api.cli import demo_view, output, reach
from api.cli.asking import Asker, connection
from api.cli.client import Job
from api.cli.errors import EXIT_FAILURE, EXIT_INTERRUPTED, CommandFailed
from api.cli.keys import key_store
from api.cli.questions import SHIPPED, read_questions
from api.cli.sandbox import why_sandbox
from api.cli.stack import Plan, Stack, embedded_redis
from api.cli.supervisor import Verdict
from api.cli.tally import Tally
from infrastructure.core.addresses import http_url
from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core import Loaded, Settings, client_defaults, data_dir, load, sandbox_wanted
from workers.jobs.routing import candidates

SHOWN_ANSWERS = 3
TOKENS_A_QUESTION = 500
LOG_NAME = "demo.log"
UNAUTHORIZED = 401


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the person asked for."""

    file: Path | None
    count: int | None
    model: str
    concurrency: int
    keep: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A service that runs: `settings` as its processes see them, `redis_url` where it is known."""

    url: str
    settings: Settings
    redis_url: str | None
    verdict: asyncio.Future[Verdict]


def run(wanted: Wanted) -> int:
    """Run the demo; return 0 exactly when every job was completed, 1 otherwise, 130 when a person interrupted it.

    Raises:
        CommandFailed, ConfigError, ServiceError: it cannot start, or cannot go on.
    """
    questions = read_questions(wanted.file or SHIPPED, count=wanted.count)
    return asyncio.run(_demo(load(), wanted, questions))


async def _demo(loaded: Loaded, wanted: Wanted, questions: list[str]) -> int:
    async with _service(loaded, wanted) as place:
        _introduce(place.settings, wanted.model, len(questions), redis_url=place.redis_url)
        tally = Tally(len(questions))
        work = asyncio.create_task(_work(place, wanted, questions, tally))
        either: list[asyncio.Future[Any]] = [work, place.verdict]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            await end_tasks([work])
            return _stopped(place.verdict.result(), tally, loaded.settings)
        kept = work.result()
        demo_view.answers(kept)
        demo_view.summary(tally)
        if wanted.keep:
            output.say(f"Still running at {place.url}; Ctrl-C stops everything.")
            await place.verdict
    return 0 if tally.complete else EXIT_FAILURE


async def _work(place: Place, wanted: Wanted, questions: list[str], tally: Tally) -> Sequence[tuple[str, Job]]:
    async with (
        _api_key(place) as api_key,
        connection(place.url, api_key=api_key, concurrency=wanted.concurrency) as http,
    ):
        asker = Asker(http, tally, model=wanted.model, concurrency=wanted.concurrency)
        earlier = await asker.unfinished()
        tally.earlier = len(earlier)
        if earlier:
            jobs = "job" if len(earlier) == 1 else "jobs"
            output.say(
                f"Found {len(earlier)} unfinished {jobs} of an earlier run: they are finished now "
                "(what a killed worker held comes back within half a minute)."
            )
        async with demo_view.progress(tally):
            return await asker.run(questions, earlier=earlier, keep=SHOWN_ANSWERS)


@asynccontextmanager
async def _service(loaded: Loaded, wanted: Wanted) -> AsyncIterator[Place]:
    """Hold a running service: the one that already listens on the configured port, or one of our own."""
    settings = loaded.settings
    host, port = settings.service.host, settings.service.port
    url = http_url(host, port)
    if port and not reach.is_free(host, port):
        if reach.is_service(url, name=settings.service.name):
            output.say(f"A service already runs at {url}: it is used, and goes on afterwards.")
            output.say("Its own providers answer, whatever this shell has keys for: real ones cost real money.")
            yield Place(url=url, settings=settings, redis_url=None, verdict=asyncio.get_running_loop().create_future())
            return
        port = 0
    async with _started(loaded, Plan(host=host, port=port or reach.free_port(host))) as place:
        yield place
        output.say("Stopping." if not wanted.keep else "\nStopping.")


@asynccontextmanager
async def _started(loaded: Loaded, plan: Plan) -> AsyncIterator[Place]:
    log = output.FileLog(data_dir(loaded.settings) / LOG_NAME)
    try:
        what = "Redis, the sandbox, API and worker" if sandbox_wanted(loaded.settings) else "Redis, API and worker"
        async with contextlib.AsyncExitStack() as stopping:
            async with demo_view.step(f"Starting {what} (log: {log.path})"):
                stack = await stopping.enter_async_context(Stack(loaded, plan, say=log))
                await (stack.sandbox_answers() if stack.sandbox_url else asyncio.sleep(0))
                await stack.ready()
            yield Place(
                url=stack.url,
                settings=stack.settings_of_processes(),
                redis_url=stack.redis_url,
                verdict=stack.verdict,
            )
    finally:
        log.close()


def _introduce(settings: Settings, model: str, count: int, *, redis_url: str | None) -> None:
    """Say who answers and, where it is a real provider, what that is going to cost; `redis_url` None: not our service.

    Raises:
        ModelNotFound: nobody does.
    """
    if redis_url is None:
        output.say(f"{count} questions go to model {model} there.")
        return
    first = candidates(settings, model)[0]
    if first.provider.startswith("sandbox"):
        why = why_sandbox(settings)
        because = f"{why[0].upper()}{why[1:]}"
        output.say(
            f"{because}: the sandbox answers {count} questions. Its answers are made up; costs are those of an invented price list, nothing is charged."
        )
        return
    output.say(
        f"{first.provider}/{first.model} answers {count} questions. This is a real provider: it costs real money."
    )
    output.say(
        f"Expect about {count * TOKENS_A_QUESTION:,} tokens: at 1 USD for a million tokens (small models) "
        f"{output.usd(count * TOKENS_A_QUESTION / 1e6)}, at 15 USD (large models) "
        f"{output.usd(count * TOKENS_A_QUESTION * 15 / 1e6)}."
    )


@asynccontextmanager
async def _api_key(place: Place) -> AsyncIterator[str | None]:
    """Hold an API key where the service asks for one: the configured one, or a temporary one that is revoked afterwards."""
    given = client_defaults().api_key
    async with httpx.AsyncClient(trust_env=False) as http:
        answer = await http.get(f"{place.url}/api/v1/jobs", params={"limit": 1})
    if given or answer.status_code != UNAUTHORIZED:
        yield given
        return
    async with _redis_url(place) as url, key_store(place.settings, url) as keys:
        key = await keys.create("default", name="demo, temporary")
        try:
            yield key
        finally:
            await keys.revoke(key.split("_")[1])


@asynccontextmanager
async def _redis_url(place: Place) -> AsyncIterator[str]:
    configured = place.settings.redis.url
    if place.redis_url is not None or configured is not None:
        yield place.redis_url or (configured.get_secret_value() if configured else "")
        return
    embedded = embedded_redis(place.settings)
    try:
        yield await asyncio.to_thread(embedded.start)
    finally:
        await asyncio.to_thread(embedded.stop)


def _stopped(verdict: Verdict, tally: Tally, settings: Settings) -> int:
    """Say why the demo ended early, and what becomes of its jobs."""
    if verdict.message:
        raise CommandFailed(f"{verdict.message} (log: {data_dir(settings) / LOG_NAME})", status=verdict.status)
    output.say(f"Interrupted with {tally.done} of {tally.total} jobs done; the next demo finishes what was submitted.")
    return EXIT_INTERRUPTED
