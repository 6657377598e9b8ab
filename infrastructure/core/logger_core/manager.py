"""The one place of a process where its log is set up, written and counted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import CodeType
from typing import Any, TextIO

from infrastructure.base.base_logger import DEFAULT_SERVICE, DEFAULT_SERVICE_ID, LogLevel
from infrastructure.core.logger_core import libraries
from infrastructure.core.logger_core.context_keys import Kind
from infrastructure.core.logger_core.counts import LineCounts
from infrastructure.core.logger_core.guard import Guard
from infrastructure.core.logger_core.last_resorts import last_resorts
from infrastructure.core.logger_core.lines import Now, make_lines, utc_now
from infrastructure.core.logger_core.logger import CoreLogger
from infrastructure.core.logger_core.outputs import Outputs
from infrastructure.core.logger_core.rotating_file import RotatingFile

_DEPTH_AT_MOST = 3


class LoggerManager:
    """Holds the level, the format and the outputs of a process's log, and its loggers.

    Until `configure` is called lines go to stdout as JSON, from level info. Safe for threads and signal handlers.
    """

    def __init__(self, *, now: Now = utc_now) -> None:
        self.level = LogLevel.INFO
        self.threshold = LogLevel.INFO.number
        self.output_format = "json"
        self.service = DEFAULT_SERVICE
        self.service_id = DEFAULT_SERVICE_ID
        self._now = now
        self._lock = threading.RLock()
        self._depth = 0
        self._counts = LineCounts()
        self._loggers: dict[tuple[str, str], CoreLogger] = {}
        self._guard = Guard()
        self._undo = ExitStack()
        self._use(Outputs())

    def configure(
        self,
        service: str,
        *,
        level: LogLevel | str = LogLevel.INFO,
        output_format: str = "json",
        service_id: str = DEFAULT_SERVICE_ID,
        stream: TextIO | None = None,
        file: RotatingFile | None = None,
        secrets: Iterable[str] = (),
        whole_process: bool = False,
    ) -> None:
        """Send every line of this process, ours and the libraries', to `stream` (stdout) and `file`.

        Args:
            service: The name of the service, for libraries' lines.
            level: What matters less is dropped.
            output_format: `json`, or `console` on the stream; a file always has JSON.
            service_id: Of this process, `001` or `ai-provider-001`.
            stream: Where lines go.
            file: Where they go as well.
            secrets: Texts that must be in no line, whatever they look like.
            whole_process: Also take warnings, and exceptions that nobody caught, from Python's own output.
        """
        self.close()
        with self._lock:
            self.service, self.service_id, self.output_format = service, service_id, output_format
            self._guard.hide(secrets)
            self._use(Outputs(stream=stream, file=file, on_trouble=self._tell_trouble))
        self._undo.callback(self._outputs.close)
        self._undo.enter_context(libraries.listening(self, alone=whole_process))
        if whole_process:
            self._undo.enter_context(last_resorts(self))
        self.set_log_level(level)

    def close(self) -> None:
        """Go back to what was before `configure`; totals stay."""
        self._undo.close()
        with self._lock:
            self.service, self.service_id, self.output_format = DEFAULT_SERVICE, DEFAULT_SERVICE_ID, "json"
            self._guard.hide(())
            self._use(Outputs())
        self.level, self.threshold = LogLevel.INFO, LogLevel.INFO.number

    def get_logger(self, service: str, module: str) -> CoreLogger:
        """Return the logger of a module, the same one each time."""
        with self._lock:
            found = self._loggers.get((service, module))
            if found is None:
                found = CoreLogger(service, module=module, manager=self, follows=True)
                self._loggers[service, module] = found
            return found

    def set_log_level(self, level: LogLevel | str) -> None:
        """Set the level of the process: of every logger that follows it, and of the libraries' lines.

        Raises:
            ValueError: it is no level.
        """
        self.level = LogLevel(level)
        self.threshold = self.level.number
        libraries.set_level(self.threshold)

    def allow_keys(self, **kinds: Kind) -> None:
        """Let context keys of your own into lines, beside those of `context_keys.py`, for as long as the process lives.

        `allow_keys(customer_id=Kind.ID, region=Kind.NAME)`; a value that does not have its kind's form is withheld all the same,
        and one that looks like a secret is redacted. Numbers need no key to be allowed.

        Raises:
            ValueError: a key is not of small letters, digits and `_`, or its kind is none.
        """
        with self._lock:
            self._guard.allow(kinds)

    def hide(self, secrets: Iterable[str]) -> None:
        """Keep these texts out of every line from now on, in place of those given before."""
        with self._lock:
            self._guard.hide(secrets)

    def get_metrics(self) -> dict[str, Any]:
        """Return the totals of this process, with the level and outputs that hold now."""
        with self._lock:
            told_of = self._counts.told()
            return {**told_of, "level": self.level.value, "format": self.output_format, "outputs": self._outputs.names}

    def write(
        self,
        level: LogLevel,
        message: object,
        *,
        module: str,
        function: str,
        code: CodeType | None,
        context: Mapping[str, Any] | None,
        service: str = "",
        service_id: str | None = None,
        exc: BaseException | None = None,
        own: Mapping[str, Any] | None = None,
        spelled: Collection[str] = (),
        output_format: str | None = None,
        counts: LineCounts | None = None,
    ) -> None:
        """Write one line; with `code` None the message has been judged already. Never raises."""
        started = time.perf_counter_ns()
        with self._lock:
            if self._depth >= _DEPTH_AT_MOST:  # a line about a line about a line
                self._counts.dropped += 1
                return
            self._depth += 1
            try:
                service = service or self.service
                self._outputs.length, before = 0, (self._guard.redacted, self._guard.withheld, self._outputs.errors)
                self._lines.write(
                    level, message, service=service, service_id=_whole_id(service, service_id or self.service_id),
                    module=module, function=function, code=code, context=context, exc=exc, own=own, spelled=spelled,
                    output_format=output_format or self.output_format,
                )  # fmt: skip
            except Exception:  # noqa: BLE001  a line is lost; whoever logs goes on
                self._outputs.errors += 1
            finally:
                self._depth -= 1
                self._account(level, before, counts)
            spent_ns = time.perf_counter_ns() - started
            for one in (self._counts,) if counts is None else (self._counts, counts):
                one.spent_ns += spent_ns

    def lose(self) -> None:
        """Count a line that could not even be begun."""
        with self._lock:
            self._counts.dropped += 1

    def scrub(self, clean: Callable[[Guard], str]) -> str:
        """Return what a function makes of something with the help of the guard, and count what that kept out."""
        with self._lock:
            redacted, withheld = self._guard.redacted, self._guard.withheld
            try:
                return clean(self._guard)
            finally:
                self._counts.redacted += self._guard.redacted - redacted
                self._counts.withheld += self._guard.withheld - withheld

    def _account(self, level: LogLevel, before: tuple[int, int, int], counts: LineCounts | None) -> None:
        redacted, withheld = self._guard.redacted - before[0], self._guard.withheld - before[1]
        for one in (self._counts,) if counts is None else (self._counts, counts):
            one.add(level, length=self._outputs.length, redacted=redacted, withheld=withheld)
            one.write_errors += self._outputs.errors - before[2]

    def _use(self, outputs: Outputs) -> None:
        self._outputs = outputs
        self._lines = make_lines(outputs, self._guard, now=self._now)

    def _tell_trouble(self, exc: BaseException) -> None:
        """Say once that the file takes no lines, to whoever reads the stream."""
        self.write(
            LogLevel.WARNING,
            "Log file cannot be written",
            module="logger_core",
            function="write",
            code=None,
            context=None,
            exc=exc,
        )


def _whole_id(service: str, service_id: str) -> str:
    return service_id if service_id.startswith(f"{service}-") else f"{service}-{service_id}"


logger_manager = LoggerManager()
"""The manager of this process; only its composition root configures it."""


def get_logger(service: str, module: str) -> CoreLogger:
    """Return the logger of a module of a service."""
    return logger_manager.get_logger(service, module)


def configure_logging(
    service: str,
    *,
    level: LogLevel | str = LogLevel.INFO,
    output_format: str = "json",
    service_id: str = DEFAULT_SERVICE_ID,
    stream: TextIO | None = None,
    output_dir: str = "",
    kind: str = "",
    secrets: Iterable[str] = (),
    whole_process: bool = False,
) -> None:
    """Set up the log of this process; see `LoggerManager.configure`.

    `output_dir` is a folder for rotating files named after the service and the `kind` of process (`web`); empty: none.
    """
    stem = f"{service}-{kind}" if kind else service
    logger_manager.configure(
        service,
        level=level,
        output_format=output_format,
        service_id=service_id,
        stream=stream,
        file=RotatingFile(Path(output_dir), stem=stem) if output_dir else None,
        secrets=secrets,
        whole_process=whole_process,
    )
