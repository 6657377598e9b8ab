"""Many callers of many gates around breakers that open again and again: how many of them try at each opening."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from infrastructure.core.config_core.sections import Breakers
from infrastructure.core.redis_core import connect
from tests.support.gates import PREFIX, a_begin, an_end, new_attempt
from workers.jobs.gate.models import Verdict
from workers.jobs.gate.redis_gate import RedisGate

PROBE_S = 0.004
FEW_CONNECTIONS = 2
HELD_S = 0.001


@dataclass
class Tries:
    """What the callers saw: how many were let through at each epoch, and most at a time."""

    by_epoch: Counter[int] = field(default_factory=Counter)
    refused: int = 0
    inside: int = 0
    most_inside: int = 0

    @property
    def faults(self) -> list[str]:
        """Return what is not one try an opening, one after the other."""
        twice = [epoch for epoch, tries in self.by_epoch.items() if tries != 1]
        missing = sorted(set(range(1, max(self.by_epoch, default=0) + 1)) - self.by_epoch.keys())
        wrong = [f"epoch {epoch} let {self.by_epoch[epoch]} calls try" for epoch in twice]
        wrong += [f"epoch {epoch} let nobody try" for epoch in missing]
        return wrong + ([f"{self.most_inside} tried at a time"] if self.most_inside != 1 else [])


async def open_again_and_again(url: str, *, callers: int, openings: int, gates: int = 8) -> Tries:
    """Have callers ask without a pause while each try fails, so that the breaker opens again, `openings` times."""
    # Shorter than a configuration may have it: a thousand openings are to be seen in seconds.
    breakers = Breakers.model_construct(**{**Breakers().model_dump(), "probe_s": PROBE_S, "max_pause_s": PROBE_S})
    clients = [connect(url, max_connections=FEW_CONNECTIONS) for _ in range(gates)]
    fleet = [
        RedisGate(client, prefix=PREFIX, owner=f"w{number}", breakers=lambda: breakers)
        for number, client in enumerate(clients)
    ]
    asked = a_begin()
    await fleet[0].end(an_end(asked, await fleet[0].begin(asked), Verdict.MODEL))
    tries = Tries()
    await asyncio.gather(*(_ask(fleet[number % gates], tries, openings) for number in range(callers)))
    for gate, client in zip(fleet, clients, strict=True):
        await gate.close()
        await client.aclose()
    return tries


async def _ask(gate: RedisGate, tries: Tries, openings: int) -> None:
    while len(tries.by_epoch) < openings:
        asked = a_begin(attempt=new_attempt())
        admission = await gate.begin(asked)
        if not admission.admitted:
            tries.refused += 1
            continue
        tries.by_epoch[admission.epochs[1] if admission.probing else -1] += 1
        tries.inside += 1
        tries.most_inside = max(tries.most_inside, tries.inside)
        await asyncio.sleep(HELD_S)  # the call
        tries.inside -= 1
        await gate.end(an_end(asked, admission, Verdict.FAILED))
