"""`python -m api.main`: the front door as a process."""

from __future__ import annotations

import asyncio
import sys

from infrastructure.core.config_core import CoreConfig, Settings, get_config, use_cache_dir
from infrastructure.core.config_core.process import following
from infrastructure.core.error_core import ConfigError
from infrastructure.core.logger_core import configure_process

EXIT_FAILURE = 1
EXIT_CONFIG = 78


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

    refused: list[bool] = []

    def refuse() -> None:
        refused.append(True)
        server.should_exit = True

    raise_file_limit()
    server = Server(create_app(settings, config=config, on_open_door=refuse))
    service = settings.service
    try:
        listener = listen(service.host, service.port)
    except OSError as exc:
        _say(f"cannot listen on {service.host} port {service.port}: {exc.strerror or exc}")
        return EXIT_FAILURE
    with listener, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[listener]))
    if not refused:
        return 0
    _say(
        f"service.host {service.host} is reachable from other machines and no API key was ever made: "
        "make one with `ai-provider keys create`, or listen on 127.0.0.1"
    )
    return EXIT_CONFIG


def _say(problem: str) -> None:
    sys.stderr.write(f"ai-provider web: {problem}\n")


if __name__ == "__main__":
    sys.exit(main())
