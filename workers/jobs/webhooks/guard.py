"""The guard of outgoing webhooks: resolves a host, and lets a connection be made only to addresses that it has judged."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from infrastructure.core.asyncio_core import within
from infrastructure.core.config_core.sections import Webhooks
from workers.jobs.webhooks.addresses import allowed, parsed
from workers.jobs.webhooks.urls import Target

LOOKUP_S = 3.0
"""Longest wait for a name: an attempt has other things to do, and a caller who registers an endpoint waits for it."""
THREADS = 64
MOST_ADDRESSES = 64
Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Gives the addresses of a host name, as text; OSError or none: there is no such host."""


class AddressRefused(OSError):
    """A host leads, or led at this moment, to an address that no webhook is sent to. Its message names neither."""


class Unresolved(OSError):
    """A host name has no address, or none came in time."""


class SystemLookup:
    """Asks the system's resolver in threads of its own, a name once at a time: a slow name server holds one thread.

    The event loop's own threads are left to others. A look-up that nobody waits for any more ends by itself, and holds up no
    process that ends: `getaddrinfo` knows no deadline, so its threads are daemons, which those of an executor are not.
    """

    def __init__(self, *, threads: int = THREADS) -> None:
        self._places = asyncio.Semaphore(threads)
        self._running: dict[str, asyncio.Task[Sequence[str]]] = {}

    async def __call__(self, host: str) -> Sequence[str]:
        """Return the addresses of a host."""
        running = self._running.get(host)
        if running is None:
            running = self._running[host] = asyncio.create_task(self._look_up(host), name="webhook lookup")
            running.add_done_callback(lambda done: self._ended(host, done))
        return await asyncio.shield(running)

    async def _look_up(self, host: str) -> Sequence[str]:
        async with self._places:
            found: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
            threading.Thread(target=_look_up, args=(host, found), name="webhook lookup", daemon=True).start()
            return await found

    def _ended(self, host: str, done: asyncio.Future[Sequence[str]]) -> None:
        self._running.pop(host, None)
        if not done.cancelled():
            done.exception()  # whoever waited was told


class Guard:
    """Judges where a webhook may go. `rules` gives the settings that hold now."""

    def __init__(self, rules: Callable[[], Webhooks], *, lookup: Lookup) -> None:
        self._rules = rules
        self._lookup = lookup

    async def addresses(self, host: str, *, plain: bool) -> tuple[str, ...]:
        """Return the addresses of a host, all of them good.

        Raises:
            AddressRefused: one of them is not: a name that leads outside and inside is refused as a whole.
            Unresolved: there are none.
        """
        found = (host,) if parsed(host) is not None else await self._looked_up(host)
        for address in found:
            self.check(address, plain=plain)
        return found

    def check(self, address: str, *, plain: bool) -> None:
        """Return when a connection to this address may be made.

        Raises:
            AddressRefused: it may not.
        """
        if not allowed(address, loopback=self._rules().allow_loopback, plain=plain):
            raise AddressRefused("expected the host to have public addresses only")

    async def check_target(self, target: Target) -> None:
        """Return when an endpoint may be registered, as `addresses`."""
        await self.addresses(target.host, plain=target.plain)

    async def _looked_up(self, host: str) -> tuple[str, ...]:
        try:
            found = tuple(dict.fromkeys(await within(self._lookup(host), LOOKUP_S)))
        except (OSError, TimeoutError, UnicodeError) as exc:
            raise Unresolved("expected the host name to resolve, got no address") from exc
        if not 0 < len(found) <= MOST_ADDRESSES:
            raise Unresolved(f"expected the host name to have 1 to {MOST_ADDRESSES} addresses, got {len(found)}")
        return found


def _look_up(host: str, found: asyncio.Future[Sequence[str]]) -> None:
    """Bring a future what getaddrinfo finds; the zone of a scoped address stays in its text, and is refused for it."""
    told: Callable[[], None]
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in entries if entry[0] in {socket.AF_INET, socket.AF_INET6}]
        told = partial(_set, found, addresses)
    except (OSError, UnicodeError) as exc:
        told = partial(_fail, found, exc)
    with contextlib.suppress(RuntimeError):  # the loop has ended, and everybody who waited with it
        found.get_loop().call_soon_threadsafe(told)


def _set(found: asyncio.Future[Sequence[str]], addresses: Sequence[str]) -> None:
    if not found.done():
        found.set_result(addresses)


def _fail(found: asyncio.Future[Sequence[str]], exc: BaseException) -> None:
    if not found.done():
        found.set_exception(exc)
