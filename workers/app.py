"""The composition root of the worker side: reads the configuration, wires one process of a kind, runs it.

Kinds: `completions` and `upkeep` consume the queue of that name, `beat` schedules, `flower` shows. Nothing is imported
before it is known to be needed: beat and Flower never load what makes calls.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import Celery
from celery.platforms import SecurityWarning  # type: ignore[attr-defined]  # missing in the stubs
from celery.signals import setup_logging

from infrastructure.core.addresses import http_url
from infrastructure.core.config_core import CoreConfig, Settings, Watcher, get_config, use_cache_dir
from infrastructure.core.config_core.process import following, on_hangup
from infrastructure.core.error_core import ConfigError
from infrastructure.core.life.signs import Signs
from infrastructure.core.logger_core import configure_process, get_logger
from workers import queues
from workers.observed import observed
from workers.runtime.life import WorkerLife
from workers.schedule import beat_schedule

EX_USAGE = 2
EX_CONFIG = 78
FILES = 65_536  # a socket for each call in flight


def main() -> None:
    """Run the process kind that the command line names; exit 78 with every fault when the configuration is bad."""
    kinds: dict[str, Callable[[CoreConfig], int]] = {
        queues.COMPLETIONS: run_completions,
        queues.UPKEEP: run_upkeep,
        "beat": run_beat,
        "flower": run_flower,
    }
    if sys.argv[1:2] == [] or sys.argv[1] not in kinds:
        sys.stderr.write(f"expected a kind of process, one of {', '.join(kinds)}\n")
        sys.exit(EX_USAGE)
    try:
        config = get_config()
        configure_process(config.settings, kind=sys.argv[1])
        use_cache_dir(config.settings)
        sys.exit(kinds[sys.argv[1]](config))
    except ConfigError as exc:
        sys.stderr.write("".join(f"configuration: {problem}\n" for problem in exc.problems))
        sys.exit(EX_CONFIG)


def make_app(settings: Settings) -> Celery:
    """Return the Celery app without any task."""
    app = Celery(settings.service.name)
    app.conf.update(queues.celery_settings(settings))
    # Celery leaves logging alone when somebody listens to this signal.
    setup_logging.connect(lambda **_: None, weak=False)
    return app


def run_completions(config: CoreConfig) -> int:
    """Run a completion worker until it is told to stop."""
    from workers.runtime.process import Process
    from workers.tasks import completions

    settings = config.settings
    app = make_app(settings)
    life = WorkerLife(shown(settings, queues.COMPLETIONS), hung_s=settings.service.hung_s)
    process = Process(config, kind=queues.COMPLETIONS, calls_providers=True, life=life)
    completions.register(app, process, settings)
    return _work(app, process, config, life=life, queue=queues.COMPLETIONS, concurrency=settings.worker.concurrency)


def run_upkeep(config: CoreConfig) -> int:
    """Run an upkeep worker until it is told to stop."""
    from workers.runtime.process import Process
    from workers.tasks import upkeep

    settings = config.settings
    app = make_app(settings)
    life = WorkerLife(shown(settings, queues.UPKEEP), hung_s=settings.service.hung_s)
    process = Process(config, kind=queues.UPKEEP, calls_providers=False, life=life)
    upkeep.register(app, process)
    process.beside = upkeep.keep_up
    return _work(app, process, config, life=life, queue=queues.UPKEEP, concurrency=UPKEEP_CONCURRENCY)


def run_beat(config: CoreConfig) -> int:
    """Run the scheduler; it keeps no file, its entries are all intervals."""
    settings = config.settings
    app = make_app(settings)
    app.conf.update(
        beat_schedule=beat_schedule(settings), beat_scheduler="workers.beat:Scheduler", task_send_sent_event=False
    )
    app.signs = signs = shown(settings, "beat")  # type: ignore[attr-defined]  # for the scheduler
    with following(config), observed(settings, kind="beat"):
        app.Beat(app=app, quiet=True).run()
    signs.remove()
    return 0


def run_flower(config: CoreConfig) -> int:
    """Run the monitoring UI."""
    from tornado.ioloop import PeriodicCallback

    flower = config.settings.flower
    app = make_app(config.settings)
    signs = shown(config.settings, "flower", url=http_url(flower.host, flower.port))
    showing = PeriodicCallback(signs.show, 1_000)
    showing.start()
    # It asks workers at its start, before they can answer, and warns of each question; it asks again by itself.
    logging.getLogger("flower.inspector").setLevel(logging.ERROR)
    with following(config), observed(config.settings, kind="flower"):
        app.start(["flower", f"--address={flower.host}", f"--port={flower.port}"])
    signs.remove()
    return 0


def shown(settings: Settings, kind: str, *, url: str = "") -> Signs:
    """Return this process's sign of life; a folder that cannot be had is told, and the process does without."""
    service = settings.service
    signs = Signs(kind=kind, service_id=service.id, hung_s=service.hung_s, url=url)
    if signs.fault is not None:
        get_logger(service.name, "life").warning("No sign of life can be given", exc=signs.fault)
    return signs


UPKEEP_CONCURRENCY = 16


def _work(app: Celery, process: Any, config: CoreConfig, *, life: WorkerLife, queue: str, concurrency: int) -> int:
    from workers.pool.task_pool import TaskPool

    # Celery warns of root because pickled messages could run code; these accept JSON only.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    _raise_file_limit()
    _cancel_revoked(process)
    settings = config.settings
    liveness = settings.worker.liveness_file
    TaskPool.prepare(
        app,
        lifespan=process.lifespan,
        drain=process.drain,
        drain_s=settings.worker.drain_s,
        liveness_file=Path(liveness) if liveness else None,
        show_life=life.show,
    )
    worker = app.Worker(
        hostname=f"{queue}-{os.getpid()}@{socket.gethostname()}",
        pool=TaskPool,
        concurrency=concurrency,
        queues=[queue],
        loglevel=settings.logging.level.upper(),
        without_mingle=True,
        without_gossip=True,
        quiet=True,
    )
    with following(config) as watcher:
        _with_our_signals(worker, watcher)
        worker.start()
    life.end()
    if process.refused:
        raise ConfigError(process.refused)
    return int(worker.exitcode or 0)


def _with_our_signals(worker: Any, watcher: Watcher) -> None:
    """Let SIGHUP reload, and a second SIGTERM hand back at once.

    Celery, as it starts, makes SIGHUP a restart of the whole process where there is no terminal, and hears only one SIGTERM.
    """
    install = worker.install_platform_tweaks

    def install_ours_too(started: Any) -> None:
        install(started)
        on_hangup(watcher)
        end_in_order: Any = signal.getsignal(signal.SIGTERM)

        def end(signum: int, frame: Any) -> None:
            signal.signal(signal.SIGTERM, lambda *_: worker.pool.hurry())
            end_in_order(signum, frame)

        signal.signal(signal.SIGTERM, end)

    worker.install_platform_tweaks = install_ours_too


def _cancel_revoked(process: Any) -> None:
    """Let every revoke cancel its job: one whose message still waits, was used for another job, or is long gone, too.

    Celery alone would only drop the message, and the job would be run at the next ring.
    """
    from celery.worker import control

    stock = control.Panel.data["revoke"]

    def revoke(state: Any, task_id: Any, *words: Any, **named: Any) -> Any:
        for one in [task_id] if isinstance(task_id, str) else task_id or ():
            process.cancel_soon(one)
        return stock(state, task_id, *words, **named)

    control.Panel.data["revoke"] = revoke


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
