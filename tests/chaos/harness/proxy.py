"""A proxy before Redis that lets a script through, drops its answer and closes the connection."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from infrastructure.core.asyncio_core import end_tasks

CHUNK = 1_048_576
Wanted = Callable[[bytes], str | None]


class CuttingProxy:
    """Listens on a unix socket beside the server's own.

    `wanted` is shown each piece that a client sends (redis-py sends a command as one piece) and gives the name of the cut,
    or None; each name is cut once. `cuts` counts the answers that were dropped.
    """

    def __init__(self, server: Path, wanted: Wanted) -> None:
        self.path = server.with_name("proxy.sock")
        self.cuts: Counter[str] = Counter()
        self._server = server
        self._wanted = wanted
        self._running: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """Return its URL."""
        return f"unix://{self.path}"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen while the block runs."""
        listener = await asyncio.start_unix_server(self._accept, self.path)
        try:
            yield
        finally:
            listener.close()
            await end_tasks(self._running)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        from_server, to_server = await asyncio.open_unix_connection(self._server)
        try:
            await self._serve(reader, writer, from_server, to_server)
        except (ConnectionError, asyncio.CancelledError):
            return  # either side went away, or the proxy ends
        finally:
            writer.close()
            to_server.close()

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        passing = asyncio.create_task(_pass_on(from_server, writer))
        try:
            while piece := await reader.read(CHUNK):
                name = self._wanted(piece)
                cut = name is not None and not self.cuts[name]
                if cut and name is not None:
                    self.cuts[name] += 1
                    await end_tasks([passing])
                to_server.write(piece)
                await to_server.drain()
                if cut:
                    await from_server.read(CHUNK)  # the script has run
                    return
        finally:
            await end_tasks([passing])


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(CHUNK):
        writer.write(piece)
        await writer.drain()
