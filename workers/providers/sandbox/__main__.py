"""Runs the sandbox: `python -m workers.providers.sandbox --port 0 --port-file FILE`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from workers.providers.sandbox.server import Sandbox

BACKLOG = 4_096
DESCRIPTORS = 65_536
PARENT_LOOK_S = 1.0
STOP_S = 1.0


def main() -> int:
    """Serve until SIGTERM or SIGINT; return the exit status."""
    options = _options()
    _raise_descriptor_limit()
    gc.freeze()  # what was imported lives as long as the process
    gc.set_threshold(50_000, 20, 20)
    try:
        uvloop.run(_serve(options))
    except OSError as error:
        print(f"sandbox: cannot listen on {options.host}:{options.port}: {error.strerror}", file=sys.stderr)  # noqa: T201  a program's own message
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="workers.providers.sandbox", description="A provider that costs nothing.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0: any free one")
    parser.add_argument("--port-file", type=Path, help="file to write the port to, once it listens")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before a good answer")
    parser.add_argument("--jitter", type=float, default=0.0, help="most seconds to add, by the prompt's digest")
    parser.add_argument("--watch-parent", action="store_true", help="stop when the process that started this one ends")
    return parser.parse_args()


def _raise_descriptor_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signum, stop.set)
    sandbox = Sandbox(latency_s=options.latency, jitter_s=options.jitter, host=options.host)
    server = sandbox.server()
    listener = await loop.create_server(server, options.host, options.port, backlog=BACKLOG)
    port = listener.sockets[0].getsockname()[1]
    if options.port_file is not None:
        _write_whole(options.port_file, f"{port}\n")
    print(f"sandbox: http://{options.host}:{port}", flush=True)  # noqa: T201  a program's own message
    await _until(stop, watch_parent=options.watch_parent)
    listener.close()
    await sandbox.ports.close()
    await _drop_all(server)


def _write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees all of it or nothing."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


async def _until(stop: asyncio.Event, *, watch_parent: bool) -> None:
    parent = os.getppid()
    while not stop.is_set() and (not watch_parent or os.getppid() == parent):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PARENT_LOOK_S if watch_parent else None)


async def _drop_all(server: web.Server) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(server.shutdown(0), STOP_S)


if __name__ == "__main__":
    sys.exit(main())
