"""`python -m api.main`: the front door as a process."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from typing import Any

from infrastructure.core.addresses import http_url
from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core import CoreConfig, Settings, get_config, use_cache_dir
from infrastructure.core.config_core.process import following
from infrastructure.core.error_core import ConfigError
from infrastructure.core.life.showing import keep_showing
from infrastructure.core.life.signs import Signs
from infrastructure.core.logger_core import configure_process, get_logger
from infrastructure.core.redis_check.advice import advise

EXIT_FAILURE = 1
EXIT_CONFIG = 78
NO_KEY = "no API key was ever made: make one with `ai-provider keys create`, or listen on 127.0.0.1"


def main() -> int:
    """Serve until told to stop; return the exit status: 0, 1 (the address cannot be had), 78 (configuration)."""
    try:
        config = get_config()
        settings = config.settings
        configure_process(settings, kind="web")
        use_cache_dir(settings)
        with following(config):
            return _serve(settings, config)
    except ConfigError as exc:
        for problem in exc.problems:
            _say(problem)
        return EXIT_CONFIG


def _serve(settings: Settings, config: CoreConfig) -> int:
    import uvloop

    from api.app import create_app
    from api.http.server import Server, listen, raise_file_limit

    refused: list[str] = []

    def refuse(why: str) -> None:
        refused.append(why)
        server.should_exit = True

    raise_file_limit()
    service = settings.service
    open_door = f"service.host {service.host} is reachable from other machines and {NO_KEY}"
    server = Server(create_app(settings, config=config, on_open_door=lambda: refuse(open_door)))
    log = get_logger(service.name, "redis")
    try:
        listener = listen(service.host, service.port)
    except OSError as exc:
        _say(f"cannot listen on {service.host} port {service.port}: {exc.strerror or exc}")
        return EXIT_FAILURE
    signs = Signs(kind="web", service_id=service.id, hung_s=service.hung_s, url=http_url(service.host, service.port))
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        advising = advise(settings, kind="web", log=log, on_refused=refuse)
        runner.run(_serving(server.serve(sockets=[listener]), signs, advising))
    for why in refused:
        _say(why)
    return EXIT_CONFIG if refused else 0


async def _serving(serving: Coroutine[Any, Any, None], signs: Signs, advising: Coroutine[Any, Any, None]) -> None:
    """Serve, show that the loop lives, and look at Redis once it answers."""
    signs.tell(())  # what it lacks is asked by HTTP
    beside = [asyncio.create_task(keep_showing(signs)), asyncio.create_task(advising)]
    try:
        await serving
    finally:
        await end_tasks(beside)
        signs.remove()


def _say(problem: str) -> None:
    sys.stderr.write(f"ai-provider web: {problem}\n")


if __name__ == "__main__":
    sys.exit(main())
