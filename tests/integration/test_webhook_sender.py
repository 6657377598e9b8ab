"""Sending to real servers on loopback: what is called, what is never called, and what comes of an attempt."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import pytest
import trustme
from aiohttp import web

from infrastructure.core.config_core.sections import Webhooks
from tests.support.hostile_urls import INNER, hostile_urls
from tests.support.webhooks import HERE, PUBLIC, Receiver, always, naming, receiving, watching
from workers.jobs.webhooks.guard import AddressRefused, Guard, Lookup, SystemLookup, Unresolved
from workers.jobs.webhooks.urls import Target, UrlRefused, target
from workers.webhooks.sender import Answer, Sender

pytestmark = pytest.mark.anyio
HEADERS = {"webhook-id": "evt_1"}


@asynccontextmanager
async def sending(
    rules: Webhooks = HERE, *, lookup: Lookup | None = None, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Sender]:
    sender = Sender(Guard(lambda: rules, lookup=lookup or SystemLookup()), tls=tls)
    try:
        yield sender
    finally:
        await sender.close()


async def sent(sender: Sender, url: str, *, timeout_s: float = 3, rules: Webhooks = HERE) -> Answer:
    return await sender.post(target(url, rules), b'{"id":"evt_1"}', HEADERS, timeout_s=timeout_s)


@contextmanager
def talking(*parts: bytes, then_s: float = 0.0) -> Iterator[str]:
    """Hold a raw server that says what it says to whoever connects, and stays silent for `then_s` seconds after it."""
    listener = socket.create_server(("127.0.0.1", 0))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
            await asyncio.wait_for(reader.read(), then_s or 0.01)
        except (TimeoutError, OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    serving = asyncio.ensure_future(asyncio.start_server(serve, sock=listener))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        serving.result().close()


async def test_an_answer_of_2xx_is_taken_and_what_was_sent_is_what_came() -> None:
    async with receiving() as receiver, sending() as sender:
        answer = await sent(sender, receiver.url + "?a=%C3%BC")
    assert (answer.status, answer.error) == (204, None)
    [came] = receiver.requests
    assert (came.path, came.body) == ("/hook", b'{"id":"evt_1"}')
    assert came.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert came.headers["content-type"] == "application/json"
    assert came.headers["webhook-id"] == "evt_1"
    assert "cookie" not in came.headers


@pytest.mark.parametrize(
    ("status", "error"),
    [(200, None), (299, None), (301, "redirect"), (307, "redirect"), (400, "http_status"), (410, "gone"), (429, "http_status"),
     (500, "http_status"), (503, "http_status")],
)  # fmt: skip
async def test_each_status_has_its_class(status: int, error: str | None) -> None:
    async with receiving() as receiver, sending() as sender:
        receiver.answer = always(status, Retry_After="120", Location="/elsewhere", Set_Cookie="a=b")
        answers = [await sent(sender, receiver.url) for _ in range(2)]
    assert {(one.status, one.error, one.retry_after_s) for one in answers} == {(status, error, 120.0)}
    assert [one.path for one in receiver.requests] == ["/hook"] * 2  # no redirect is followed
    assert all("cookie" not in one.headers for one in receiver.requests)


async def test_a_redirect_inside_is_not_followed() -> None:
    with watching() as inner:
        async with receiving() as receiver, sending() as sender:
            receiver.answer = always(302, Location=f"http://127.0.0.1:{inner.port}/")
            assert (await sent(sender, receiver.url)).error == "redirect"
        assert inner.count() == 0


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with watching() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with receiving() as receiver, sending() as sender:
            assert (await sent(sender, receiver.url)).status == 204
        assert proxy.count() == 0


OK = b"HTTP/1.1 200 OK\r\n"
BROKEN: dict[str, tuple[tuple[bytes, ...], str]] = {
    "nothing": ((), "bad_answer"),
    "no HTTP": ((b"220 smtp ready\r\n",), "bad_answer"),
    "half a head": ((OK + b"Content-Le",), "bad_answer"),
    "a head without end": ((OK, *[b"X-A: " + b"a" * 5_000 + b"\r\n"] * 3), "bad_answer"),
    "headers without end": ((OK, *[b"X-%d: a\r\n" % number for number in range(500)]), "bad_answer"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_no_answer_is_told_by_class(name: str) -> None:
    parts, error = BROKEN[name]
    with talking(*parts) as url:
        async with sending() as sender:
            answer = await sent(sender, url)
    assert (answer.status, answer.error) == (None, error)


@pytest.mark.parametrize("parts", [(), (OK,), (b"HTTP/1.1 100 Continue\r\n\r\n",)])
async def test_silence_ends_at_the_timeout(parts: Sequence[bytes]) -> None:
    with talking(*parts, then_s=10) as url:
        async with sending() as sender:
            answer = await sent(sender, url, timeout_s=0.3)
    assert answer.error == "timeout"
    assert 250 < answer.latency_ms < 2_000


async def test_the_body_of_an_answer_is_not_waited_for_nor_read() -> None:
    sent_bytes = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent_bytes
        response = web.StreamResponse(headers={"Content-Encoding": "gzip"})
        await response.prepare(request)
        while True:
            await response.write(b"\x1f" * 65_536)
            sent_bytes += 65_536

    async with receiving() as receiver, sending() as sender:
        receiver.answer = endless
        answer = await sent(sender, receiver.url, timeout_s=5)
        assert (answer.status, answer.error) == (200, None)
        assert answer.latency_ms < 2_000
    assert sent_bytes < 20_000_000  # what fits into the system's buffers


async def test_nobody_there_is_unreachable_and_no_name_unresolved() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        async with sending() as sender, naming() as names, sending(lookup=names.lookup) as asking:
            assert (await sent(sender, f"http://127.0.0.1:{taken.getsockname()[1]}/")).error == "unreachable"
            assert (await sent(asking, "https://nobody.attacker.example/")).error == "unresolved"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_of(authority: trustme.CA, *names: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


async def test_the_connection_goes_to_the_checked_address_under_the_endpoints_name(authority: trustme.CA) -> None:
    seen: list[str | None] = []
    context = tls_of(authority, "hooks.attacker.example")
    context.sni_callback = lambda _, name, __: seen.append(name)
    async with (
        naming(hooks_attacker_example=[["127.0.0.1"]]) as names,
        receiving(tls=context) as receiver,
        sending(lookup=names.lookup, tls=trusting(authority)) as sender,
    ):
        rules = Webhooks(allow_loopback=True, ports=(receiver.port,))
        answer = await sent(sender, f"https://hooks.attacker.example:{receiver.port}/hook", rules=rules)
    assert (answer.status, answer.error) == (204, None)
    assert seen == ["hooks.attacker.example"]
    assert receiver.requests[0].headers["host"] == f"hooks.attacker.example:{receiver.port}"


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_certificate_of_another_name_or_of_nobody_is_refused(authority: trustme.CA, trusted: bool) -> None:
    async with receiving(tls=tls_of(authority, "other.example")) as receiver:
        tls = trusting(authority) if trusted else None
        async with sending(tls=tls) as sender:
            answer = await sent(sender, receiver.url)
    assert (answer.status, answer.error, receiver.requests) == (None, "tls", [])


def _whatever(url: str, port: int) -> Target:
    """Return a target as though the form of the URL had been found good."""
    try:
        return target(url, Webhooks(allow_loopback=True, ports=(port,)))
    except UrlRefused:
        return Target(url, "", port, plain=False)


async def test_hostile_urls_reach_nothing_inside_even_where_their_form_was_let_through() -> None:
    """Three walls, each tried alone: the form, the look-up, the socket."""
    with watching() as inner:
        rules = Webhooks(ports=(inner.port,), timeout_s=2)
        urls = hostile_urls(inner.port)
        records = {name.replace(".", "_"): answers for name, answers in INNER.items()}
        async with naming(**records) as names, sending(rules, lookup=names.lookup) as sender:
            guard = Guard(lambda: rules, lookup=names.lookup)
            registered = []
            for url in urls:
                try:
                    await guard.check_target(target(url, rules))
                    registered.append(url)
                except (UrlRefused, AddressRefused, Unresolved):
                    pass
            answers = await asyncio.gather(
                *(sender.post(_whatever(url, inner.port), b"{}", {}, timeout_s=2) for url in urls)
            )
        async with sending(rules) as system:  # the system's own resolver takes many of these forms for addresses
            answers += await asyncio.gather(
                *(system.post(_whatever(url, inner.port), b"{}", {}, timeout_s=2) for url in urls)
            )
        assert len(urls) >= 32
        assert registered == []
        assert {one.status for one in answers} == {None}
        assert "address_refused" in {one.error for one in answers}
        assert inner.count() == 0
        with socket.create_connection(("127.0.0.1", inner.port)):  # the listener does notice
            pass
        assert inner.count() == 1


class HomeGuard(Guard):
    """A guard that stops short of what it has found to be public: no test connects to the outside."""

    outside = 0

    async def addresses(self, host: str, *, plain: bool) -> tuple[str, ...]:
        """Return the addresses of a host, unless they are public."""
        await super().addresses(host, plain=plain)
        self.outside += 1
        raise Unresolved("expected a test to stay at home")


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_a_name_server_that_changes_its_mind_gets_no_connection_inside(inside: str) -> None:
    with watching() as inner:
        rules = Webhooks(ports=(inner.port,))
        url = f"https://rebind.attacker.example:{inner.port}/"
        answers = [[PUBLIC], [inside], [PUBLIC, inside], [inside, PUBLIC], [PUBLIC], [inside]]
        async with naming(rebind_attacker_example=answers) as names:
            guard = HomeGuard(lambda: rules, lookup=names.lookup)
            await Guard(lambda: rules, lookup=names.lookup).check_target(target(url, rules))  # it is registered
            sender = Sender(guard)
            errors = [(await sent(sender, url, rules=rules)).error for _ in range(25)]
            await sender.close()
            assert errors == ["address_refused"] * 3 + ["unresolved"] + ["address_refused"] * 21
            assert names.asked["rebind.attacker.example"] == 26  # one look-up for each attempt, and its answer is used
            assert guard.outside == 1
        assert inner.count() == 0


async def test_an_address_that_went_bad_after_the_lookup_meets_the_socket() -> None:
    """The resolver itself is bypassed here, as by an address in the URL."""
    with watching() as inner:
        rules = Webhooks(ports=(inner.port,))

        class Blind(Guard):
            async def addresses(self, host: str, *, plain: bool) -> tuple[str, ...]:  # noqa: ARG002  it is blind
                return ("127.0.0.1", "::1")

        sender = Sender(Blind(lambda: rules, lookup=SystemLookup()))
        assert (await sent(sender, f"https://hooks.example.com:{inner.port}/", rules=rules)).error == "address_refused"
        await sender.close()
        assert inner.count() == 0


async def test_the_systems_resolver_is_asked_for_a_name_once_at_a_time_and_does_not_hold_up_others() -> None:
    lookup = SystemLookup()
    found = await asyncio.gather(*(lookup("localhost") for _ in range(50)))
    assert {tuple(one) for one in found} == {tuple(found[0])}
    assert set(found[0]) <= {"127.0.0.1", "::1"}
    assert not lookup._running
    with pytest.raises(OSError, match=r"\[Errno"):
        await lookup("no-such-name.invalid")
    with pytest.raises(Unresolved):
        await Guard(lambda: HERE, lookup=lookup).addresses("no-such-name.invalid", plain=False)


async def test_receivers_may_come_back() -> None:
    receiver = await Receiver().start()
    async with sending() as sender:
        await receiver.stop()
        assert (await sent(sender, receiver.url)).error == "unreachable"
        await receiver.start()
        assert (await sent(sender, receiver.url)).status == 204
        await receiver.stop()
