"""Webhooks in tests: receivers and name servers that are real, on loopback, and the sending side wired as upkeep wires it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import dns.asyncresolver
import dns.exception
import dns.message
import dns.rdataclass
import dns.rdatatype
import dns.resolver
import dns.rrset
import orjson
from aiohttp import web
from redis.asyncio import Redis

from infrastructure.core.config_core.sections import Webhooks
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.optional.event_core import NullPublisher
from workers.handlers.webhooks import Courier
from workers.jobs.webhooks import signing
from workers.jobs.webhooks.endpoints import EndpointStore
from workers.jobs.webhooks.guard import Guard, SystemLookup
from workers.jobs.webhooks.ids import new_endpoint_id
from workers.jobs.webhooks.models import Endpoint, NewEndpoint
from workers.jobs.webhooks.outbox import Outbox
from workers.webhooks.deliverer import Deliverer
from workers.webhooks.sender import Sender

SECRET = b"the service's secret of the tests"
HERE = Webhooks(allow_loopback=True, timeout_s=5)
PUBLIC = "93.184.215.14"
"""An address that the rules take for public; no test connects to it."""
Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    """A request as it came in."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        """Return its body."""
        found: dict[str, Any] = orjson.loads(self.body)
        return found

    @property
    def id(self) -> str:
        """Return its `webhook-id`."""
        return self.headers["webhook-id"]


class Receiver:
    """A real HTTP or HTTPS server on 127.0.0.1; `answer` makes each answer, 204 unless told otherwise."""

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[Received] = []
        self.answer: Handle | None = None
        self._tls = tls
        self._runner: web.ServerRunner | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Return the URL of an endpoint here."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self.port}/hook"

    @property
    def counts(self) -> Counter[str]:
        """Return how often each event came."""
        return Counter(one.id for one in self.requests)

    @property
    def events(self) -> dict[str, list[str]]:
        """Return the types of the events that came about each thing, one for each event's id."""
        told: dict[str, dict[str, str]] = {}
        for one in self.requests:
            told.setdefault(one.event["data"]["id"], {})[one.id] = one.event["type"]
        return {about: list(types.values()) for about, types in told.items()}

    async def start(self) -> Receiver:
        """Begin to listen."""
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        return self

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        self.requests.append(
            Received(request.path, {name.lower(): value for name, value in request.headers.items()}, body)
        )
        if self.answer is not None:
            return await self.answer(request)  # type: ignore[arg-type]
        return web.Response(status=204)


@asynccontextmanager
async def receiving(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Hold a receiver."""
    receiver = await Receiver(tls=tls).start()
    try:
        yield receiver
    finally:
        await receiver.stop()


def always(status: int, **headers: str) -> Handle:
    """Return an answer that is always the same."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@dataclass
class Watch:
    """Listens on 127.0.0.1 and ::1 at one port, and counts every connection: what an attack would have reached."""

    port: int = 0
    connections: int = 0
    _sockets: list[socket.socket] = field(default_factory=list)

    def count(self) -> int:
        """Take in what has arrived, and return how many connections there were: none is waited for."""
        for listener in self._sockets:
            while True:
                try:
                    connection, _ = listener.accept()
                except BlockingIOError:
                    break
                connection.close()
                self.connections += 1
        return self.connections


@contextmanager
def watching() -> Iterator[Watch]:
    """Hold a watch."""
    watch = Watch()
    try:
        for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            watch._sockets.append(listener)
            listener.bind((address, watch.port))
            listener.listen(128)
            listener.settimeout(0)
            watch.port = listener.getsockname()[1]
        yield watch
    finally:
        for listener in watch._sockets:
            listener.close()


class NameServer(asyncio.DatagramProtocol):
    """A real DNS server on UDP: each name has a list of answers, given one after the other, the last for ever."""

    def __init__(self) -> None:
        self.records: dict[str, list[Sequence[str]]] = {}
        self.asked: Counter[str] = Counter()
        self.port = 0
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)  # asyncio's own is none by its class
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer a question for addresses; a name that is not known has none."""
        query = dns.message.from_wire(data)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        answer = dns.message.make_response(query)
        kind = question.rdtype
        if name in self.records:
            found = self._next(name, first=kind == dns.rdatatype.A)
            fitting = [one for one in found if (":" in one) == (kind == dns.rdatatype.AAAA)]
            if fitting:
                answer.answer.append(dns.rrset.from_text(question.name, 0, dns.rdataclass.IN, kind, *fitting))
        assert self._transport is not None
        self._transport.sendto(answer.to_wire(), addr)

    def _next(self, name: str, *, first: bool) -> Sequence[str]:
        """Return the answer of this look-up; its question for A addresses comes first and moves on."""
        self.asked[name] += first
        answers = self.records[name]
        return answers[min(max(self.asked[name], 1), len(answers)) - 1]

    async def lookup(self, host: str) -> Sequence[str]:
        """Return the addresses of a name by asking this server over UDP, as a stub resolver does."""
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], self.port, 3.0
        found: list[str] = []
        for kind in ("A", "AAAA"):
            try:
                found += [record.to_text() for record in await resolver.resolve(host, kind)]
            except dns.exception.DNSException as exc:
                if not isinstance(exc, dns.resolver.NoAnswer):
                    raise OSError("no such host") from exc
        return found


@asynccontextmanager
async def naming(**records: Sequence[Sequence[str]]) -> AsyncIterator[NameServer]:
    """Hold a name server; `records` are by name with `_` for a dot."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    server.records = {name.replace("_", "."): list(answers) for name, answers in records.items()}
    try:
        yield server
    finally:
        transport.close()


@dataclass
class Post:
    """The sending side on one Redis: endpoints, outbox, sender, courier, deliverer."""

    endpoints: EndpointStore
    outbox: Outbox
    sender: Sender
    courier: Courier
    deliverer: Deliverer
    tracker: PerformanceTracker

    async def endpoint(self, url: str, *, tenant: str = "default", enabled: bool = True) -> Endpoint:
        """Register an endpoint without asking whether its URL is good."""
        new = NewEndpoint(
            id=new_endpoint_id(), tenant=tenant, url=url, description="", enabled=enabled,
            salt=signing.new_salt(), fingerprint=signing.fingerprint(SECRET),
        )  # fmt: skip
        return (await self.endpoints.create(new, most=10_000))[0]

    async def drain(self, *, within_s: float = 20.0) -> None:
        """Send what is due until nothing is under way any more."""
        deadline = time.monotonic() + within_s
        while True:
            told = await self.deliverer.pump()
            refill = self.deliverer._refill
            looks = {refill} if refill is not None and not refill.done() else set()
            if not (told["begun"] or self.deliverer._sends or looks):
                return
            assert time.monotonic() < deadline, "not everything was sent in time"
            await asyncio.wait({*self.deliverer._sends, *looks, asyncio.create_task(asyncio.sleep(0))}, timeout=0.05)

    async def close(self) -> None:
        """Close what is open."""
        await self.deliverer.close()


@asynccontextmanager
async def posting(
    redis: Redis, *, rules: Webhooks = HERE, guard: Guard | None = None, events: Any = None, **more: Any
) -> AsyncIterator[Post]:
    """Hold the sending side; `more` is for the courier."""
    tracker, log = PerformanceTracker("webhook-test"), get_logger("ai-provider", "test")
    sender = Sender(guard or Guard(lambda: rules, lookup=SystemLookup()), tls=more.pop("tls", None))
    outbox = Outbox(redis, prefix="aip")
    given: dict[str, Any] = {
        "post": lambda where, body, headers, timeout_s: sender.post(where, body, headers, timeout_s=timeout_s),
        "secret": lambda: SECRET, "rules": lambda: rules, "now_s": time.time, "log": log,
    }  # fmt: skip
    courier = Courier(outbox=outbox, **{**given, **more})
    deliverer = Deliverer(
        courier, sender, rules=lambda: rules, events=events or NullPublisher(), tracker=tracker, log=log
    )
    post = Post(EndpointStore(redis, prefix="aip"), outbox, sender, courier, deliverer, tracker)
    try:
        yield post
    finally:
        await post.close()
