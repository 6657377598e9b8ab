"""Equal requests over the whole fleet: who pays, who waits, and what becomes of them when the one who calls is killed."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
from redis.asyncio import Redis

from api.keys.keys import KeyStore
from tests.support.steady import Seen, collect, outcomes, submit, together
from tests.support.waiting import eventually
from tests.support.wall import PREFIX, Given, Wall
from workers.providers.sandbox.answers import proof

SESSION_S = 300.0


def body_of(prompt: str, **more: Any) -> dict[str, Any]:
    """Return a cacheable body with one message."""
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], "cache": {"mode": "use"}, **more}


def shared_wall(latency_s: float, **more: Any) -> Wall:
    """Return a wall of one provider that numbers its answers."""
    provider = Given(name="p1", timeout_s=60, profile={"latency_s": latency_s, "serials": True})
    return Wall(providers=[provider], **more)


def session_of(key: str | None = None) -> aiohttp.ClientSession:
    """Return a session with many connections, whose requests carry an API key where one is given."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=SESSION_S)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=256), timeout=timeout, headers=headers)


@dataclass(frozen=True)
class Shared:
    """What came of equal requests: the jobs, and the calls that reached the provider."""

    jobs: list[Seen]
    calls: int
    seconds: float

    @property
    def by_cache(self) -> dict[str, int]:
        """Return how many were answered how: `miss`, `joined`, `hit`."""
        return dict(Counter(str(job.cache) for job in self.jobs))

    @property
    def answers(self) -> int:
        """Return how many different answers there are, by the provider's serial."""
        return len({job.result["id"] for job in self.jobs if job.result})

    @property
    def ended(self) -> dict[str, int]:
        """Return how many jobs ended how."""
        return outcomes(self.jobs)


async def equal_at_once(wall: Wall, count: int, *, key: str | None = None) -> Shared:
    """Submit equal requests as nearly at once as can be, and wait for all."""
    body, before, began = body_of(f"all the same {secrets.token_hex(4)}"), calls(wall), time.monotonic()
    async with session_of(key) as session:
        ids = await together(session, wall.url, [body] * count)
        jobs = await collect(session, wall.url, ids, within_s=120)
    return Shared(jobs, calls(wall) - before, time.monotonic() - began)


async def leader_killed(wall: Wall, count: int, *, within_s: float, key: str | None = None) -> Shared:
    """Submit equal requests, kill the process that makes the call, and wait for all; a new worker takes its place."""
    body, before, began = body_of(f"a leader dies {secrets.token_hex(4)}"), calls(wall), time.monotonic()
    async with session_of(key) as session:
        ids = await together(session, wall.url, [body] * count)
        leader = await eventually(lambda: leading(wall), what="a worker calls for all")
        await eventually(lambda: calls(wall) > before, what="the call reached the provider")
        os.kill(leader, signal.SIGKILL)
        await asyncio.to_thread(wall.add_worker)
        jobs = await collect(session, wall.url, ids, within_s=within_s)
    return Shared(jobs, calls(wall) - before, time.monotonic() - began)


def leading(wall: Wall) -> int | None:
    """Return the process id of the one worker that has a provider call open, None when there is none."""
    with wall.client() as client:
        owners = [key.decode().rpartition(":")[2] for key in client.scan_iter(f"{PREFIX}:attempts:*", count=1_000)]
    pids = [int(owner.split(".")[-2]) for owner in owners]
    mine = [child.pid for child in wall.workers if child.poll() is None and child.pid in pids]
    return mine[0] if len(mine) == 1 else None


def calls(wall: Wall) -> int:
    """Return how many calls reached the provider so far; health looks at its list of models now and then, which is none."""
    return wall.calls("p1")


@dataclass(frozen=True)
class Tenants:
    """What came of many tenants asking the same: crossed answers, calls at the provider, and how all ended."""

    crossed: int
    wrong: int
    calls: int
    ended: dict[str, int]
    by_cache: dict[str, int]
    seconds: float


async def tenants_share_prompts(wall: Wall, *, tenants: int, each: int, prompts: int, at_once: int = 64) -> Tenants:
    """Let every tenant submit `each` requests over the same few prompts, all mixed; the provider numbers its answers."""
    keys = await make_keys(wall, [f"tenant-{number}" for number in range(tenants)])
    asked = [f"shared prompt {number} {secrets.token_hex(4)}" for number in range(prompts)]
    plan = [(tenant, asked[(turn + tenant) % prompts]) for turn in range(each) for tenant in range(tenants)]
    before, began = calls(wall), time.monotonic()
    ids = [""] * len(plan)
    places = iter(range(len(plan)))

    def headers(place: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {keys[plan[place][0]]}"}

    async with session_of() as session:

        async def submitter() -> None:
            for place in places:
                ids[place] = await submit(session, wall.url, body_of(plan[place][1]), **headers(place))

        await asyncio.gather(*(submitter() for _ in range(at_once)))
        jobs = await collect(session, wall.url, ids, within_s=SESSION_S, headers=headers)
    owners: dict[str, set[int]] = {}
    for (tenant, _), job in zip(plan, jobs, strict=True):
        if job.result:
            owners.setdefault(job.result["id"], set()).add(tenant)
    wrong = sum(proof(prompt) not in job.text for (_, prompt), job in zip(plan, jobs, strict=True) if job.result)
    return Tenants(
        crossed=sum(len(who) > 1 for who in owners.values()),
        wrong=wrong,
        calls=calls(wall) - before,
        ended=outcomes(jobs),
        by_cache=dict(Counter(str(job.cache) for job in jobs)),
        seconds=time.monotonic() - began,
    )


async def make_keys(wall: Wall, tenants: Sequence[str]) -> list[str]:
    """Return an API key of each tenant. From then on nobody is let in without one."""
    secret = (wall.folder / "hmac.key").read_bytes().strip()
    client = Redis.from_url(wall.redis.url)
    try:
        store = KeyStore(client, prefix=PREFIX, secret=secret)
        return [await store.create(tenant) for tenant in tenants]
    finally:
        await client.aclose()
