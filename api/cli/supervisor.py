"""Keeps processes running: starts again what dies, stops all of them within 10 s, leaves none behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from api.cli import terminal
from api.cli.child import Child, Say, Spec, ending
from api.cli.pulse import LOOK_EVERY_S, Pulse
from infrastructure.core.asyncio_core import end_tasks

EX_CONFIG = 78
FAST_S = 20.0
FAST_DEATHS = 5
GRACE_S = 6.0
HUNG_S = 60.0
LATER_GRACE_S = 0.5
KILLED_S = 0.5
CONFIG_LINES = 5
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why everything stops: `status` for the shell, `message` for the person; no message when a person asked for it."""

    status: int
    message: str = ""


class Supervisor:
    """Runs processes until a signal comes or one of them cannot be kept.

    A process that dies is started again after a pause that doubles (0.5 s to 4 s), and so is one that shows no sign of life for
    `hung_s` seconds, which is ended by force; after five deaths in a row within 20 s of their starts or by force, or one with status 78 (its configuration is bad), the supervisor gives up: see `verdict`. A spare one is
    given up alone. SIGHUP is passed on as a reload, unless it says that the terminal has gone, which stops everything. Times
    are parameters for tests. Use as an async context manager; leaving it stops everything.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str],
        say: Say,
        fast_s: float = FAST_S,
        pause_s: float = 0.5,
        grace_s: float = GRACE_S,
        hung_s: float = HUNG_S,
    ) -> None:
        self._environment = environment
        self._say = say
        self._fast_s = fast_s
        self._pause_s = pause_s
        self._grace_s = grace_s
        self._hung_s = hung_s
        self._children: list[Child] = []
        self._keepers: dict[Child, asyncio.Task[None]] = {}
        self.given_up: set[Child] = set()
        """Spare processes that could not be kept; whoever ran them dismisses them."""
        self._guardian: subprocess.Popen[bytes] | None = None
        self._terminal = False
        self.verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> Self:
        """Start the guardian and listen to the signals that stop everything."""
        self._guardian = _start_guardian(self._environment)
        loop = asyncio.get_running_loop()
        for signum in SIGNALS:
            loop.add_signal_handler(signum, self._signalled)
        self._terminal = terminal.expected()
        loop.add_signal_handler(signal.SIGHUP, self._hung_up)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop everything, then stop listening to signals."""
        await self.stop()
        loop = asyncio.get_running_loop()
        for signum in (*SIGNALS, signal.SIGHUP):
            loop.remove_signal_handler(signum)

    async def run(self, spec: Spec) -> Child:
        """Start a process and keep it running.

        Raises:
            OSError: its program cannot be run.
        """
        child = Child(spec, environment=self._environment, say=self._say)
        self._children.append(child)
        try:
            await self._start(child)
        except OSError:
            self._children.remove(child)
            raise
        self._keepers[child] = asyncio.create_task(self._keep(child))
        return child

    async def dismiss(self, child: Child) -> None:
        """End one process for good: ask it, wait as at a stop, kill it when it does not end in time."""
        keeper = self._keepers.pop(child, None)
        if keeper is None:
            return
        await end_tasks([keeper])
        await _end([child], grace_s=self._grace_s)
        self._tell_guardian("-", child)
        self.given_up.discard(child)
        if child in self._children:
            self._children.remove(child)

    def decide(self, verdict: Verdict) -> None:
        """Say that everything has to stop, and why; the first verdict holds."""
        if not self.verdict.done():
            self.verdict.set_result(verdict)

    async def stop(self) -> None:
        """End all processes, stage by stage, within 10 s; what does not end in time is killed."""
        self.decide(Verdict(0))
        await end_tasks(self._keepers.values())
        self._keepers.clear()
        grace_s = self._grace_s
        for stage in sorted({child.spec.stage for child in self._children}):
            await _end([child for child in self._children if child.spec.stage == stage], grace_s=grace_s)
            grace_s = LATER_GRACE_S
        self._children.clear()
        self._dismiss_guardian()

    async def _keep(self, child: Child) -> None:
        """Start a child again each time it ends, until it has to be given up."""
        name, fast, pause_s = child.spec.name, 0, self._pause_s
        while True:
            started = time.monotonic()
            status, hung = await self._end_of(child)
            self._tell_guardian("-", child)
            child.kill()  # what it may have left behind
            quick = hung or time.monotonic() - started < self._fast_s
            fast, pause_s = (fast + 1, pause_s) if quick else (1, self._pause_s)
            if status == -signal.SIGHUP and child.spec.reloads:
                fast -= 1  # it was still starting when it was told to read its configuration again, which it does now
            if status == EX_CONFIG or fast >= FAST_DEATHS:
                self._give_up(child, _gave_up(child, status, fast))
                return
            self._say(name, f"{ending(status)}; starting again in {pause_s:g} s")
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, self._pause_s * 8)
            await self._start_again(child)

    async def _end_of(self, child: Child) -> tuple[int, bool]:
        """Wait until a child has ended, and end one that hangs; return its status, and whether it hung."""
        waiting = asyncio.create_task(child.wait())
        pulse = Pulse(child.spec.life, child.pid, hung_s=self._hung_s) if child.spec.life else None
        try:
            while not (await asyncio.wait([waiting], timeout=LOOK_EVERY_S))[0]:
                if pulse is not None and pulse.look():
                    self._say(child.spec.name, f"no sign of life for {self._hung_s:g} s: it hangs, ending it by force")
                    child.kill()
                    return await waiting, True
            return waiting.result(), False
        finally:
            await end_tasks([waiting])

    def _give_up(self, child: Child, verdict: Verdict) -> None:
        if child.spec.spare:
            self._say(child.spec.name, f"{verdict.message}; the others go on")
            self.given_up.add(child)
        else:
            self.decide(verdict)

    async def _start_again(self, child: Child) -> None:
        """Start a child that has ended, as soon as the machine has room for it."""
        while True:
            try:
                await self._start(child)
            except OSError as exc:
                self._say(
                    child.spec.name, f"cannot be started: {exc.strerror}; trying again in {self._pause_s * 8:g} s"
                )
                await asyncio.sleep(self._pause_s * 8)
            else:
                return

    async def _start(self, child: Child) -> None:
        await child.start()
        self._tell_guardian("+", child)

    def _signalled(self) -> None:
        """Stop in order at the first signal, at once at the second."""
        if self.verdict.done():
            for child in self._children:
                if child.lives:
                    child.kill()
        self.decide(Verdict(0))

    def _hung_up(self) -> None:
        """Stop when the terminal that was here has gone; otherwise have the processes read their configuration again."""
        if self._terminal and not terminal.is_there():
            self._signalled()
            return
        self._say("up", "SIGHUP: every process reads its configuration again")
        for child in self._children:
            child.ask_to_reload()

    def _tell_guardian(self, sign: str, child: Child) -> None:
        if self._guardian is not None and self._guardian.stdin is not None:
            with contextlib.suppress(BrokenPipeError):  # somebody has killed it; nothing else depends on it
                self._guardian.stdin.write(f"{sign}{child.pid}\n".encode())
                self._guardian.stdin.flush()

    def _dismiss_guardian(self) -> None:
        """Let the guardian go: everything on its list has ended."""
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.communicate()
            self._guardian = None


def _start_guardian(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "api.cli.guardian"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


async def _end(children: Iterable[Child], *, grace_s: float) -> None:
    """Ask processes to end, and kill those that still live after `grace_s` seconds, with what any of them left behind."""
    living = [child for child in children if child.lives]
    waits = [asyncio.create_task(child.wait()) for child in living]
    if not waits:
        return
    for child in living:
        child.ask_to_end()
    await asyncio.wait(waits, timeout=grace_s)
    for child in living:
        child.kill()
    _, late = await asyncio.wait(waits, timeout=KILLED_S)
    for wait in late:
        wait.cancel()


def _gave_up(child: Child, status: int, deaths: int) -> Verdict:
    if status == EX_CONFIG:
        said_why = [line for line in child.tail if line.startswith(("configuration: ", "ai-provider "))]
        words = "; ".join((said_why or list(child.tail)[-1:])[-CONFIG_LINES:])
        return Verdict(EX_CONFIG, f"{child.spec.name} refuses to start" + (f"; it said: {words}" if words else ""))
    words = child.tail[-1] if child.tail else ""
    said = f"; its last line: {words}" if words else ""
    return Verdict(1, f"{child.spec.name} {ending(status)}, {deaths} times in a row; giving up{said}")
