"""The parts of event streams: what a reader may send, how events look, what keeps a stream alive, who finds a place."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.http import sse
from api.http.headers import accepts, last_event_id
from api.job_events import starting_point
from api.streams import StreamPlaces
from infrastructure.core.config_core.settings import Limits
from infrastructure.core.error_core import StreamsFull, TooManyStreams, ValidationFailed
from tests.support.waiting import eventually
from workers.jobs.models import Happened, What
from workers.jobs.store.history import happened

pytestmark = pytest.mark.anyio
LIMITS = Limits(streams=3, tenant_streams=2)


@pytest.mark.parametrize(
    ("accept", "allowed"),
    [
        (None, True), ("", True), ("*/*", True), ("text/*", True), ("text/event-stream", True),
        ("application/json, Text/Event-Stream;q=0.5", True), ("application/json", False), ("text/event-stream;q=0", False),
        ("text/event-stream; q=0.000, text/html", False), ("text/event-streams", False),
    ],
)  # fmt: skip
def test_what_a_reader_accepts_decides(accept: str | None, *, allowed: bool) -> None:
    headers = [] if accept is None else [(b"accept", accept.encode())]
    assert accepts(headers, sse.MEDIA_TYPE) is allowed


@pytest.mark.parametrize(("given", "number"), [(None, 0), (b"", 0), (b" 7 ", 7), (b"123456789012345", 123456789012345)])
def test_a_reader_goes_on_behind_a_number(given: bytes | None, number: int) -> None:
    assert last_event_id([] if given is None else [(b"last-event-id", given)]) == number


@pytest.mark.parametrize("given", [b"x", b"-1", b"1.0", b"1 2", "٣".encode(), b"9" * 16])
def test_what_is_no_number_of_an_event_is_refused(given: bytes) -> None:
    with pytest.raises(ValidationFailed, match="Last-Event-ID"):
        last_event_id([(b"last-event-id", given)])
    with pytest.raises(ValidationFailed):
        last_event_id([(b"last-event-id", b"1"), (b"last-event-id", b"1")])


def test_an_event_is_spelled_as_readers_expect_it() -> None:
    assert sse.event(b"{}", name="job.queued", number=1) == b"id: 1\nevent: job.queued\ndata: {}\n\n"
    assert sse.event(b"[DONE]") == b"data: [DONE]\n\n"
    assert sse.retry(1500) == b"retry: 1500\n\n"


def test_a_history_is_read_as_it_was_written_and_what_is_new_to_this_version_is_passed_over() -> None:
    assert happened(b"1q1767614400000.0;2z1767614400001.0;3a1767614400002.1.1767614460000;") == (
        Happened(number=1, what=What.QUEUED, at_ms=1767614400000, delivery=0),
        Happened(number=3, what=What.PUT_BACK, at_ms=1767614400002, delivery=1, until_ms=1767614460000),
    )
    assert happened(None) == happened(b"") == ()


def test_who_knows_of_more_than_there_is_starts_anew() -> None:
    told = happened(b"1q1767614400000.0;2p1767614400001.1;")
    assert [starting_point(after, told) for after in (0, 1, 2, 3)] == [0, 1, 2, 0]
    assert starting_point(5, ()) == 0


async def test_a_quiet_stream_is_kept_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "KEEP_ALIVE_S", 0.01)
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message["body"])

    wake = asyncio.Event()
    waiting = asyncio.create_task(sse.Writer(send).meanwhile(wake.wait()))
    await eventually(lambda: len(sent) >= 3)
    wake.set()
    assert await waiting
    assert set(sent) == {b":\n\n"}


async def test_what_a_stream_waited_for_is_stopped_with_it() -> None:
    async def send(_: Any) -> None:
        raise AssertionError

    never = asyncio.get_running_loop().create_future()
    waiting = asyncio.create_task(sse.Writer(send).meanwhile(never))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert never.cancelled()


def test_places_are_bounded_for_a_tenant_and_for_all_and_come_free() -> None:
    places = StreamPlaces()
    with places.taken("a", LIMITS), places.taken("a", LIMITS):
        with pytest.raises(TooManyStreams), places.taken("a", LIMITS):
            pass
        with places.taken("b", LIMITS), pytest.raises(StreamsFull), places.taken("c", LIMITS):
            pass
        assert len(places) == 2
    assert len(places) == 0
    assert places._of_tenant == {}
