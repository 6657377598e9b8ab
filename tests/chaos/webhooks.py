"""Webhooks: hostile URLs, signatures, cancels that race completions, and upkeep killed while it sends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import redis as sync_redis
from aiohttp import web
from standardwebhooks.webhooks import Webhook

from infrastructure.core.config_core.sections import Webhooks
from tests.chaos.rows import Row, at_most, exactly, scaled
from tests.support.hostile_urls import INNER, hostile_urls
from tests.support.jobs import PREFIX, audit, new_job, nonce, shared_store, success
from tests.support.redis_server import RedisServer
from tests.support.waiting import eventually
from tests.support.webhooks import SECRET, Post, Receiver, naming, posting, receiving, watching
from workers.jobs.models import COMPLETION_CLASSES, Status
from workers.jobs.store.job_store import JobStore
from workers.jobs.webhooks import signing
from workers.jobs.webhooks.guard import AddressRefused, Guard, Unresolved
from workers.jobs.webhooks.models import Endpoint
from workers.jobs.webhooks.urls import UrlRefused, target
from workers.webhooks.sender import Sender

ROOT = Path(__file__).resolve().parents[2]
SIGNATURES, CANCELS, KILLS = 1_000, 500, 20
AT_ONCE = 50
EVENTS_A_KILL = 30
SEND_S = 1.0
TOLD_WITHIN_S, END_WITHIN_S, A_KILL_S = 60.0, 60.0, 20.0  # a kill costs a lease, and the start of a process


def run(scale: float) -> Sequence[Row]:
    """Try every hostile URL, verify 1,000 signatures, race 500 cancels, kill upkeep 20 times."""
    return [
        *asyncio.run(hostile()),
        verified(scaled(SIGNATURES, scale, least=20)),
        *asyncio.run(raced(scaled(CANCELS, scale, least=25))),
        *asyncio.run(killed(scaled(KILLS, scale, least=3))),
    ]


async def hostile() -> list[Row]:
    """Register and send to every hostile URL, by a name server that leads inside and one that changes its mind."""
    with watching() as inner:
        rules = Webhooks(ports=(inner.port,), timeout_s=2)
        records = {name.replace(".", "_"): answers for name, answers in INNER.items()}
        flips = [["93.184.215.14"], *[["127.0.0.1"], ["93.184.215.14", "::1"]] * 10]
        async with naming(**records, rebind_attacker_example=flips) as names:
            guard = Guard(lambda: rules, lookup=names.lookup)
            urls, rebinding = hostile_urls(inner.port), f"https://rebind.attacker.example:{inner.port}/"
            refused = [url for url in urls if not await _registers(guard, url, rules)]
            registered = await _registers(guard, rebinding, rules)
            sender = Sender(guard)
            tries = [await sender.post(target(rebinding, rules), b"{}", {}, timeout_s=2) for _ in flips]
            await sender.close()
        return [
            exactly("hostile URLs refused", len(refused), len(urls)),
            exactly("rebinding name registered while it was public", registered, expected=True),
            exactly("then its attempts", dict(Counter(one.error for one in tries)), {"address_refused": len(flips)}),
            exactly("connections inside", inner.count(), 0),
        ]


async def _registers(guard: Guard, url: str, rules: Webhooks) -> bool:
    try:
        await guard.check_target(target(url, rules))
    except (UrlRefused, AddressRefused, Unresolved):
        return False
    return True


def verified(count: int) -> Row:
    """Verify signatures of as many secrets with the reference library."""
    good = 0
    for number in range(count):
        key, body = signing.secret_key(SECRET, f"whk_{number}", signing.new_salt()), b'{"number":%d}' % number
        headers = signing.signed_headers(f"evt_{number}", int(time.time()), body, keys=[key])
        good += Webhook(signing.shown_secret(key)).verify(body, headers) == {"number": number}
    return exactly("signatures good for the reference library", good, count)


@dataclass
class Race:
    """What became of jobs that were completed and cancelled at the same time."""

    states: dict[str, str] = field(default_factory=dict)
    slowest_s: float = 0.0


async def raced(count: int) -> list[Row]:
    """Cancel jobs at random moments while workers complete them and webhooks are sent."""
    race, server = Race(), RedisServer(appendonly=True).start()
    try:
        async with shared_store(server.url) as store, receiving() as receiver, _posting(server) as post:
            endpoint = await post.endpoint(receiver.url)
            ended = asyncio.Event()
            pumping = asyncio.create_task(_pump(post, ended))
            places = asyncio.Semaphore(AT_ONCE)
            await asyncio.gather(*(_race_one(store, endpoint, race, places) for _ in range(count)))
            await eventually(
                lambda: len(receiver.events) >= count, within_s=TOLD_WITHIN_S, what="every end is told"
            )  # fmt: skip
            ended.set()
            await pumping
            await post.drain()
        told = receiver.events
        contradictions = [job for job, state in race.states.items() if told.get(job) != [f"job.{state}"]]
        return [
            exactly("cancels raced", len(race.states), count),
            exactly("of them completed and cancelled", len(set(race.states.values())), 2),
            exactly("webhooks that contradict, are missing or are two", len(contradictions), 0),
            at_most("slowest end after its cancel", race.slowest_s, 2.0, unit="s"),
            exactly("broken invariants", _audited(server), []),
        ]
    finally:
        server.remove()


async def _race_one(store: JobStore, endpoint: Endpoint, race: Race, places: asyncio.Semaphore) -> None:
    async with places:
        job_id = (await store.submit(replace(new_job(tenant=f"t{len(race.states) % 7}"), webhook=endpoint.id))).job_id
        results = await asyncio.gather(_complete_some(store), _cancel(store, job_id, race))
        job = results[1]
        race.states[job_id] = job


async def _complete_some(store: JobStore) -> None:
    """Be a worker: claim whatever is next, and end it after a moment."""
    claimed = await store.claim(f"w{random.randrange(5)}", nonce=nonce(), classes=COMPLETION_CLASSES)
    if claimed is None:
        return
    await asyncio.sleep(random.random() * 0.02)
    await store.complete(claimed.fence, success(), nonce=nonce())


async def _cancel(store: JobStore, job_id: str, race: Race) -> str:
    await asyncio.sleep(random.random() * 0.03)
    began = time.monotonic()
    job = await store.cancel(job_id, tenant=None)
    race.slowest_s = max(race.slowest_s, time.monotonic() - began)
    assert job is not None
    assert job.status in {Status.COMPLETED, Status.CANCELLED}
    return job.status.value


async def _pump(post: Post, ended: asyncio.Event) -> None:
    while not ended.is_set():
        await post.deliverer.pump()
        await asyncio.sleep(0.02)


@asynccontextmanager
async def _posting(server: RedisServer) -> AsyncIterator[Post]:
    import redis.asyncio as aioredis

    redis = aioredis.Redis.from_url(server.url)
    try:
        async with posting(redis) as post:
            yield post
    finally:
        await redis.aclose()


class Upkeep:
    """Real upkeep processes, which end by kill -9 and are started again."""

    def __init__(self, server: RedisServer, count: int) -> None:
        self._environment = {
            **os.environ, "REDIS_URL": server.url, "AI_PROVIDER_HMAC_SECRET": SECRET.decode(), "LOG_LEVEL": "error",
            "AI_PROVIDER_WEBHOOKS_ALLOW_LOOPBACK": "true", "AI_PROVIDER_WEBHOOKS_TIMEOUT_S": str(SEND_S),
            "AI_PROVIDER_WEBHOOKS_PER_ENDPOINT": "8", "AI_PROVIDER_DATA_DIR": str(server.folder), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        self._running = [self._start() for _ in range(count)]
        self.kills = 0

    def kill_one(self) -> None:
        """Kill the oldest and start another."""
        self.kills += 1
        oldest = self._running.pop(0)
        oldest.send_signal(signal.SIGKILL)
        oldest.wait(10)
        self._running.append(self._start())

    def end(self) -> None:
        """Kill all."""
        for process in self._running:
            process.send_signal(signal.SIGKILL)
            process.wait(10)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "workers.main", "upkeep"]
        return subprocess.Popen(command, env=self._environment, cwd=ROOT, stdout=subprocess.DEVNULL)


class Killing:
    """A receiver's answers, which kill upkeep on the way: before an answer, right after one, and at any moment."""

    def __init__(self, upkeep: Upkeep, kills: int, *, after: int) -> None:
        self._upkeep = upkeep
        self._kills = kills
        self._after = after
        self._came = 0

    async def __call__(self, _: web.Request) -> web.Response:
        """Answer, and kill when it is time to."""
        self._came += 1
        due = self._came % self._after == 0 and self._upkeep.kills < self._kills
        if due:
            moment = self._upkeep.kills % 3
            delay_s = {0: random.random() * 0.2, 1: 0.0, 2: 0.001}[moment]
            if moment == 1:
                self._upkeep.kill_one()  # it has the request on its way and no answer
            else:
                asyncio.get_running_loop().call_later(delay_s, self._upkeep.kill_one)
        await asyncio.sleep(random.random() * 0.05)
        return web.Response(status=204)


async def killed(kills: int) -> list[Row]:
    """End jobs while upkeep is killed over and over: each end is told at least once, under one id."""
    count, server = kills * EVENTS_A_KILL, RedisServer(appendonly=True).start()
    upkeep = Upkeep(server, 2)
    try:
        async with shared_store(server.url) as store, receiving() as receiver, _posting(server) as post:
            receiver.answer = Killing(upkeep, kills, after=max(1, EVENTS_A_KILL - 10))
            endpoints = [await post.endpoint(receiver.url) for _ in range(4)]
            jobs = [(await store.submit(replace(new_job(), webhook=endpoints[n % 4].id))).job_id for n in range(count)]
            for job_id in jobs:
                await store.cancel(job_id, tenant=None)
            with contextlib.suppress(AssertionError):  # the rows tell what is missing
                await eventually(
                    lambda: upkeep.kills >= kills and _settled(server) == count,
                    within_s=END_WITHIN_S + kills * A_KILL_S, every_s=0.2,
                )  # fmt: skip
            return _told(receiver, jobs, (upkeep.kills, kills), server)
    finally:
        upkeep.end()
        server.remove()


def _told(receiver: Receiver, jobs: Sequence[str], killed_of: tuple[int, int], server: RedisServer) -> list[Row]:
    kills, wanted = killed_of
    counts, told = receiver.counts, receiver.events
    return [
        exactly("upkeep killed", kills, wanted),
        exactly("deliveries settled", _settled(server), len(jobs)),
        exactly("ends told", sum(told.get(job_id) == ["job.cancelled"] for job_id in jobs), len(jobs)),
        exactly("ids of events", len(counts), len(jobs)),
        at_most("sent again, of sends in flight at kills", sum(counts.values()) - len(counts), kills * 64),
        exactly("broken invariants", _audited(server), []),
    ]


def _settled(server: RedisServer) -> int:
    with sync_redis.Redis.from_url(server.url) as client:
        names = client.scan_iter(f"{PREFIX}:delivery:*", count=1_000)
        return sum(client.hget(name, "state") == b"delivered" for name in names)


def _audited(server: RedisServer) -> list[str]:
    with sync_redis.Redis.from_url(server.url) as client:
        return audit(client)
