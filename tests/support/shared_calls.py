"""What single-flight promises, shown with real processes and a real provider over HTTP; each in any size."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from tests.support.flight_peer import FlightPeer
from tests.support.sandbox import SandboxProcess
from tests.support.waiting import wait_for

LEASE_S = 1.0
_names = (f"flight-{number}" for number in itertools.count())


@contextmanager
def peers(
    count: int, redis_url: str, sandbox: SandboxProcess, instance: str, *, lease_s: float = 10.0
) -> Iterator[list[FlightPeer]]:
    """Give so many processes, all ready, that call the sandbox's instance."""
    running = [FlightPeer(redis_url, base(sandbox, instance), lease_s=lease_s) for _ in range(count)]
    try:
        yield [peer.ready() for peer in running]
    finally:
        for peer in running:
            peer.close()


def base(sandbox: SandboxProcess, instance: str) -> str:
    """Return the base URL for OpenAI clients of an instance."""
    return f"{sandbox.for_instance(instance)}/v1"


def calls(sandbox: SandboxProcess, instance: str) -> int:
    """Return how many calls reached an instance."""
    count: int = sandbox.counters()["by_instance"].get(instance, 0)
    return count


def equal_requests(
    redis_url: str, sandbox: SandboxProcess, *, requests: int = 1_000, processes: int = 8
) -> tuple[int, Counter[str]]:
    """Ask the same in all processes at once; return how many calls were made, and how each request was answered."""
    instance = next(_names)
    sandbox.set_faults(late(instance))
    with peers(processes, redis_url, sandbox, instance) as running:
        for peer in running:
            peer.tell(asks=[["acme", "What is a harbour?"]] * (requests // processes))
        told = [peer.told() for peer in running]
    sandbox.set_faults()
    return calls(sandbox, instance), total(told)


def killed_leaders(
    redis_url: str, sandbox: SandboxProcess, *, times: int = 50, waiting: int = 3
) -> tuple[list[int], Counter[str]]:
    """Kill the process that calls, again and again; return the calls made for each request, and how those who wait end."""
    instance, made, told = next(_names), [], []
    sandbox.set_faults(late(instance))
    with peers(waiting, redis_url, sandbox, instance, lease_s=LEASE_S) as others:
        for number in range(times):
            before = calls(sandbox, instance)
            with peers(1, redis_url, sandbox, instance, lease_s=LEASE_S) as (leader,):
                leader.tell(asks=[["acme", f"Question {number}"]])
                wait_for(partial(_called, sandbox, instance, before), what="the leader calls")
                for peer in others:
                    peer.tell(asks=[["acme", f"Question {number}"]] * 5)
                leader.kill()
                told += [peer.told() for peer in others]
            made.append(calls(sandbox, instance) - before)
    sandbox.set_faults()
    return made, total(told)


def tenants_apart(
    redis_url: str,
    sandbox: SandboxProcess,
    *,
    tenants: int = 50,
    requests: int = 2_000,
    prompts: int = 20,
    processes: int = 4,
) -> tuple[int, Counter[str]]:
    """Let tenants ask the same questions, all mixed; return how many calls were made, and how the requests were answered."""
    instance, chance = next(_names), random.Random(4)
    asks = [
        [f"tenant-{tenant}", f"Prompt {chance.randrange(prompts)}"]
        for tenant in range(tenants)
        for _ in range(requests)
    ]
    chance.shuffle(asks)
    with peers(processes, redis_url, sandbox, instance) as running:
        for place, peer in enumerate(running):
            peer.tell(asks=asks[place::processes], at_once=200)
        told = [peer.told() for peer in running]
    return calls(sandbox, instance), total(told)


def _called(sandbox: SandboxProcess, instance: str, before: int) -> bool:
    return calls(sandbox, instance) > before


def late(instance: str, latency_s: float = 1.0) -> dict[str, Any]:
    """Return the rule that makes an instance answer late."""
    return {"match": {"instance": instance}, "action": {"latency_s": latency_s}}


def total(told: Sequence[dict[str, Any]]) -> Counter[str]:
    """Return the sums of what the processes count."""
    names = ("hit", "joined", "miss", "crossed", "failed")
    return Counter({name: sum(one[name] for one in told) for name in names})
