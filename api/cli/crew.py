"""The worker processes of one kind, under a supervisor: one more, one less."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import count

from api.cli.child import Child, Spec
from api.cli.supervisor import Supervisor

LONGEST_ID = 32


def python(*words: str) -> tuple[str, ...]:
    """Return the command that runs a module of ours."""
    return (sys.executable, "-P", "-m", *words)  # -P: a folder named `api` where the user stands is none of ours


class WorkerCrew:
    """The worker processes of one kind under a supervisor."""

    def __init__(self, kind: str, name: str, supervisor: Supervisor, *, ids: Iterator[str], minimum: int = 1) -> None:
        self._kind = kind
        self._name = name
        self._supervisor = supervisor
        self._minimum = minimum
        self._ids = ids
        self._children: list[Child] = []

    @property
    def kind(self) -> str:
        """Return the kind, as the queue is called."""
        return self._kind

    @property
    def children(self) -> tuple[Child, ...]:
        """Return the processes, oldest first."""
        return tuple(self._children)

    async def add(self) -> None:
        """Start one more, under the lowest name that is free: worker, worker.2, worker.3; with the next id of all.

        Raises:
            OSError: its program cannot be run.
        """
        taken = {child.spec.name for child in self._children}
        number = next(number for number in range(1, len(taken) + 2) if self._named(number) not in taken)
        spec = Spec(
            name=self._named(number),
            command=python("workers.main", self._kind),
            variables=with_id(self._ids),
            reloads=True,
            spare=len(taken) >= self._minimum,
            life=self._kind,
        )
        self._children.append(await self._supervisor.run(spec))

    async def end(self, child: Child) -> None:
        """Have one drain and end, and do not start it again."""
        self._children.remove(child)
        await self._supervisor.dismiss(child)

    async def drop_given_up(self) -> int:
        """Let go of those that could not be kept; return how many they were."""
        lost = [child for child in self._children if child in self._supervisor.given_up]
        for child in lost:
            await self.end(child)
        return len(lost)

    def _named(self, number: int) -> str:
        return self._name if number == 1 else f"{self._name}.{number}"


def ids_of(service_id: str) -> Iterator[str]:
    """Yield an id for each process of the service on this machine, in the order of their starts; none comes twice."""
    return (numbered(service_id, number) for number in count(1))


def with_id(ids: Iterator[str]) -> dict[str, str]:
    """Return what tells a process the next id; it keeps this one when it is started again."""
    return {"AI_PROVIDER_SERVICE_ID": next(ids)}


def numbered(service_id: str, number: int) -> str:
    """Return the id of the nth process, the first one having `service_id`: 001, 002; blue, blue-2."""
    if number == 1:
        return service_id
    if service_id.isdigit():
        return f"{int(service_id) + number - 1:0{len(service_id)}d}"
    return f"{service_id[: LONGEST_ID - len(str(number)) - 1]}-{number}"
