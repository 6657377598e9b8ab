"""The whole service as a person runs it: the `ai-provider` program, a home of its own, free ports, no keys."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path

import psutil

from tests.support.ports import free_port
from tests.support.waiting import wait_for

PROGRAM = Path(sys.executable).with_name("ai-provider")
MARK = "AIP_OF_TEST"
START_S = 120.0


class Program:
    """A running `ai-provider` command, its output collected line by line."""

    def __init__(self, arguments: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [str(PROGRAM), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(environment),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def output(self) -> str:
        """Return what it has written so far, errors included."""
        return "\n".join(self.lines)

    def wait_for_line(self, text: str, *, within_s: float = START_S) -> str:
        """Return the first line that contains a text; AssertionError when the program ends or time passes before."""

        def found() -> str | None:
            line = next((line for line in list(self.lines) if text in line), None)
            assert line or self._process.poll() is None, f"ended before it said {text!r}:\n{self.output}"
            return line

        return wait_for(found, within_s=within_s, what=f"{text!r} is said") or ""

    def signal(self, signum: signal.Signals) -> None:
        """Send a signal to the program itself, as a terminal or a service manager does."""
        self._process.send_signal(signum)

    def wait(self, *, within_s: float = START_S) -> int:
        """Return the exit status; AssertionError when it has not ended in time."""
        wait_for(lambda: self._process.poll() is not None, within_s=within_s, what="the program ends")
        self._reader.join(30)
        return self._process.wait()

    def end(self) -> None:
        """End it at once."""
        if self._process.poll() is None:
            self._process.kill()
        self.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        self.lines.extend(line.rstrip("\n") for line in iter(self._process.stdout.readline, ""))


class Home:
    """A person's machine in small: a home folder, an environment, and the commands run in them."""

    def __init__(self, **variables: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="aip-home-"))
        self.port = free_port()
        self._mark = uuid.uuid4().hex
        (self.folder / "tmp").mkdir()
        self._programs: list[Program] = []
        inherited = {name: value for name, value in os.environ.items() if name != "XDG_DATA_HOME"}
        self.environment = {
            **inherited,
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "tmp"),
            "AI_PROVIDER_PORT": str(self.port),
            "AI_PROVIDER_FLOWER_PORT": str(free_port()),
            MARK: self._mark,
            **variables,
        }

    @property
    def url(self) -> str:
        """Return where the front door of this home listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self, *arguments: str, **variables: str) -> Program:
        """Start a command."""
        program = Program(arguments, {**self.environment, **variables})
        self._programs.append(program)
        return program

    def up(self, *options: str, **variables: str) -> Program:
        """Run `ai-provider up` and wait until it is up and its worker is ready."""
        program = self.start("up", *options, **variables)
        program.wait_for_line("AI Provider is up")
        program.wait_for_line("Worker is ready owner=completions")
        return program

    def run(self, *arguments: str, within_s: float = START_S, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its output is no terminal."""
        return subprocess.run(
            [str(PROGRAM), *arguments],
            capture_output=True,
            text=True,
            timeout=within_s,
            env={**self.environment, **variables},
            stdin=subprocess.DEVNULL,
            check=False,
        )

    def processes(self) -> list[str]:
        """Return every living process of this home, whoever started it, as its command line."""
        return [" ".join(process.cmdline()) for process in self._own()]

    def remove(self) -> None:
        """End whatever still runs, and delete the folder."""
        for program in self._programs:
            program.end()
        for process in self._own():
            process.kill()
        wait_for(lambda: not self._own(), what="all processes of the home are gone")
        shutil.rmtree(self.folder, ignore_errors=True)

    def _own(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._is_own(process)]

    def _is_own(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            # The Redis server writes its title over its environment; its socket lies in the home's temporary folder.
            return process.environ().get(MARK) == self._mark or str(self.folder) in " ".join(process.cmdline())
        except (psutil.Error, OSError):
            return False
