"""How a command of the command line fails: one sentence and an exit status."""

from __future__ import annotations

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78  # EX_CONFIG of sysexits
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class CommandFailed(Exception):
    """A command cannot do what it was asked: `message` says why and, where it helps, what to do."""

    def __init__(self, message: str, *, status: int = EXIT_FAILURE) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
