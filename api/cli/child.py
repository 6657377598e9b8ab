"""One supervised process: started in a session of its own, its output passed on line by line, its end awaited."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from api.cli import guardian

LINE_BYTES = 65_536
TAIL_LINES = 20
LAST_WORDS_S = 0.3
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")
Say = Callable[[str, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """What to run under which name, with which variables beside everybody's.

    At a stop the processes of a lower `stage` are gone before a higher one is asked. One that `reloads` is sent SIGHUP when
    the supervisor gets it. One that is `spare` is given up alone, and not with everything else. `life` is the kind under which
    it shows that it lives; empty: it shows nothing, and is never held to be hung.
    """

    name: str
    command: tuple[str, ...]
    stage: int = 0
    variables: Mapping[str, str] = field(default_factory=dict)
    reloads: bool = False
    spare: bool = False
    life: str = ""


class Lines(asyncio.Protocol):
    """Cuts output into lines; one that is longer than 64 KiB is cut too."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._rest = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        """Pass on the lines that are complete."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        for line in lines:
            self._pass_on(line)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  the protocol's signature
        """Pass on what came without a line's end."""
        if self._rest:
            self._pass_on(self._rest)
        self.ended.set()

    def _pass_on(self, line: bytes) -> None:
        text = _ESCAPES.sub("", line.decode("utf-8", "replace")).rstrip()
        if text:
            self._say(text)


class Child:
    """A process of a spec; `say` gets its name and each line of its output, `tail` keeps the last ones."""

    def __init__(self, spec: Spec, *, environment: Mapping[str, str], say: Say) -> None:
        self.spec = spec
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._environment = environment
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._status: asyncio.Future[int] | None = None
        self._output: tuple[asyncio.BaseTransport, Lines] | None = None

    @property
    def pid(self) -> int:
        """Return the process id, which is also its group's and session's."""
        if self._process is None:
            raise RuntimeError(f"expected {self.spec.name} to have been started")
        return self._process.pid

    @property
    def lives(self) -> bool:
        """Say whether the process runs, as far as has been heard."""
        return self._status is not None and not self._status.done()

    async def start(self) -> None:
        """Start it.

        Raises:
            OSError: the program cannot be run.
        """
        loop = asyncio.get_running_loop()
        self.tail.clear()
        self._process = launch(self.spec.command, environment={**self._environment, **self.spec.variables})
        self._status = loop.create_future()
        threading.Thread(target=_report, args=(self._process, self._status, loop), daemon=True).start()
        self._output = await loop.connect_read_pipe(lambda: Lines(self._heard), self._process.stdout)

    async def wait(self) -> int:
        """Return the exit status (negative: the signal that ended it) when it has ended and its last words are passed on."""
        if self._status is None:
            raise RuntimeError(f"expected {self.spec.name} to have been started")
        status = await asyncio.shield(self._status)
        if self._output is not None:
            transport, lines = self._output
            with contextlib.suppress(TimeoutError):  # somebody may have inherited its output and keep it open
                await asyncio.wait_for(lines.ended.wait(), LAST_WORDS_S)
            transport.close()
        return status

    def ask_to_end(self) -> None:
        """Send SIGTERM to the process; what it has started itself is its own business."""
        if self.lives:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)

    def ask_to_reload(self) -> None:
        """Send SIGHUP to the process, if it is one that reads its configuration again then."""
        if self.lives and self.spec.reloads:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGHUP)

    def kill(self) -> None:
        """End the process at once, with whatever it has started and left behind."""
        if self._process is not None:
            guardian.send(self.pid, signal.SIGKILL)

    def _heard(self, line: str) -> None:
        self.tail.append(line)
        self._say(self.spec.name, line)


def launch(command: Sequence[str], *, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own: Ctrl-C in the terminal is for the supervisor, which ends all in order."""
    return subprocess.Popen(  # noqa: S603  our own programs
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
        start_new_session=True,
    )


def _report(process: subprocess.Popen[bytes], status: asyncio.Future[int], loop: asyncio.AbstractEventLoop) -> None:
    """Wait for a process in a thread of its own, and tell the loop."""
    code = process.wait()

    def tell() -> None:
        if not status.done():
            status.set_result(code)

    with contextlib.suppress(RuntimeError):  # the loop may be gone
        loop.call_soon_threadsafe(tell)


def ending(status: int) -> str:
    """Say how a process ended, in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
