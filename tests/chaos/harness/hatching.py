"""A process that has imported what takes seconds, and forks the real service processes from itself: `python -m tests.chaos.harness.hatching workers|web`.

Reads a line of JSON for each process on its standard input and answers with the pid. Every child runs the product's own
`main` with an environment, arguments and log of its own, and is killed like any other process.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

PARENTS_SHARE = ("PATH", "HOME", "LANG", "TMPDIR")


def main() -> None:
    """Import, say so, then fork on demand until the input ends."""
    {"workers": _import_workers, "web": _import_web}[sys.argv[1]]()
    assert threading.active_count() == 1, threading.enumerate()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system reaps who was killed
    _say({"ready": os.getpid()})
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _live(asked)
        _say({"pid": pid})


def _live(asked: dict[str, Any]) -> None:
    """Become the process that was asked for, to its end."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _take_over(asked)
        if asked["before"]:
            importlib.import_module(asked["before"]).arm()
        status = _run(asked["kind"], asked["arguments"])
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else 1
    except BaseException:  # noqa: BLE001  its log says why
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _take_over(asked: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(asked["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def _run(kind: str, arguments: list[str]) -> int:
    sys.argv = [kind, *arguments]
    entry: Callable[[], int | None] = importlib.import_module({"workers": "workers.app", "web": "api.main"}[kind]).main
    return entry() or 0


def _import_workers() -> None:
    for name in ("workers.app", "workers.tasks.completions", "workers.tasks.upkeep", "workers.runtime.process",
                 "workers.pool.task_pool", "workers.pool.consumer", "celery.worker.worker", "celery.apps.worker",
                 "celery.apps.beat", "workers.beat", "kombu.transport.redis"):  # fmt: skip
        importlib.import_module(name)
    importlib.import_module("workers.providers.library").load(concurrency=2_000)


def _import_web() -> None:
    for name in ("api.main", "api.app", "api.http.server", "uvloop", "kombu.transport.redis"):
        importlib.import_module(name)


def _say(told: dict[str, Any]) -> None:
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
