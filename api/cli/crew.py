"""The worker processes of one kind, under a supervisor: one more, one less."""

from __future__ import annotations

import sys

from api.cli.child import Child, Spec
from api.cli.supervisor import Supervisor


def python(*words: str) -> tuple[str, ...]:
    """Return the command that runs a module of ours."""
    return (sys.executable, "-P", "-m", *words)  # -P: a folder named `api` where the user stands is none of ours


class WorkerCrew:
    """The worker processes of one kind under a supervisor."""

    def __init__(self, kind: str, name: str, supervisor: Supervisor) -> None:
        self._kind = kind
        self._name = name
        self._supervisor = supervisor
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
        """Start one more, under the lowest name that is free: worker, worker.2, worker.3."""
        taken = {child.spec.name for child in self._children}
        names = [self._name, *(f"{self._name}.{number}" for number in range(2, len(taken) + 2))]
        name = next(name for name in names if name not in taken)
        self._children.append(await self._supervisor.run(Spec(name=name, command=python("workers.main", self._kind))))

    async def end(self, child: Child) -> None:
        """Have one drain and end, and do not start it again."""
        self._children.remove(child)
        await self._supervisor.dismiss(child)
