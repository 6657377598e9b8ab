"""Deliveries from a job's end to a real receiver."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from infrastructure.core.config_core.sections import Webhooks
from infrastructure.core.error_core import ConfigError
from tests.support.jobs import must_claim, new_job, nonce, success
from tests.support.logs import caught_log
from tests.support.waiting import eventually
from tests.support.webhooks import HERE, SECRET, Post, Receiver, always, posting, receiving
from workers.jobs import topics
from workers.jobs.store.job_store import JobStore
from workers.jobs.webhooks import signing
from workers.jobs.webhooks.ids import new_event_id
from workers.jobs.webhooks.models import Delivery, DeliveryStatus, Endpoint
from workers.jobs.webhooks.schedule import wait_ms

pytestmark = pytest.mark.anyio


class Heard:
    """A publisher that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def publish(self, topic: str, data: Any = None) -> None:
        self.events.append((topic, dict(data or {})))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def post(redis: Redis, heard: Heard) -> AsyncIterator[Post]:
    async with posting(redis, events=heard, wait=soon) as post:
        yield post


def soon(tried: int, *, asked_s: float | None = None) -> int | None:
    """Wait as the schedule does, a thousand times faster."""
    planned_ms = wait_ms(tried, asked_s=asked_s, draw=lambda: 0.5)
    return None if planned_ms is None else min(planned_ms // 1_000, 20)


async def emit(post: Post, endpoint: Endpoint, count: int = 1) -> list[str]:
    ids = [new_event_id() for _ in range(count)]
    for one in ids:
        await post.outbox.emit(one, endpoint.id, tenant="default", kind="webhook.test", about=endpoint.id)
    return ids


async def ended(post: Post, event_id: str, endpoint: Endpoint) -> Delivery:
    """Send what is due until a delivery has ended."""

    async def look() -> Delivery | None:
        await post.drain()
        delivery = await post.outbox.get(event_id, endpoint.id)
        return None if delivery.status is DeliveryStatus.PENDING else delivery

    found: Delivery = await eventually(look)
    return found


def shown(endpoint: Endpoint) -> str:
    return signing.shown_secret(signing.secret_key(SECRET, endpoint.id, endpoint.salt))


async def test_a_jobs_end_is_told_at_the_next_look_and_its_owner_can_verify_it(
    redis: Redis, post: Post, receiver: Receiver, heard: Heard
) -> None:
    store = JobStore(redis)
    endpoint = await post.endpoint(receiver.url)
    job_id = (await store.submit(replace(new_job(), webhook=endpoint.id))).job_id
    await post.drain()
    assert receiver.requests == []
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    await post.drain()
    [came] = receiver.requests
    assert Webhook(shown(endpoint)).verify(came.body, came.headers) == {
        "id": came.id, "object": "event", "type": "job.completed", "created_at": came.event["created_at"], "data": {"id": job_id},
    }  # fmt: skip
    assert abs(came.event["created_at"] - time.time()) < 60
    assert heard.events == []  # one for each job would drown all others
    assert post.tracker.snapshot().amounts == {"webhooks_delivered": 1}


async def test_every_attempt_has_the_same_id_and_body_and_a_signature_of_its_own_time(
    post: Post, receiver: Receiver
) -> None:
    statuses = iter([500, 429, 302, 204])

    async def by_turns(_: web.Request) -> web.Response:
        return web.Response(status=next(statuses))

    receiver.answer = by_turns
    endpoint = await post.endpoint(receiver.url)
    [event_id] = await emit(post, endpoint)
    delivery = await ended(post, event_id, endpoint)
    assert delivery.status is DeliveryStatus.DELIVERED
    assert [(one.status, one.error) for one in delivery.tries] == [
        (500, "http_status"), (429, "http_status"), (302, "redirect"), (204, None),
    ]  # fmt: skip
    assert {(one.id, one.body) for one in receiver.requests} == {(event_id, receiver.requests[0].body)}
    for one in receiver.requests:
        Webhook(shown(endpoint)).verify(one.body, one.headers)


async def test_after_ten_attempts_a_delivery_has_failed_and_a_replay_begins_anew(
    post: Post, receiver: Receiver, heard: Heard
) -> None:
    receiver.answer = always(500)
    endpoint = await post.endpoint(receiver.url)
    [event_id] = await emit(post, endpoint)
    delivery = await ended(post, event_id, endpoint)
    assert (delivery.status, delivery.next_ms, len(delivery.tries)) == (DeliveryStatus.FAILED, None, 10)
    assert len(receiver.requests) == 10
    assert [topic for topic, _ in heard.events] == [topics.WEBHOOK_FAILED]
    receiver.answer = None
    await post.outbox.replay(event_id, endpoint.id, tenant="default", nonce=nonce())
    assert (await ended(post, event_id, endpoint)).status is DeliveryStatus.DELIVERED
    assert receiver.counts == {event_id: 11}


async def test_410_disables_the_endpoint_at_once(post: Post, receiver: Receiver, heard: Heard) -> None:
    receiver.answer = always(410)
    endpoint = await post.endpoint(receiver.url)
    [event_id] = await emit(post, endpoint)
    delivery = await ended(post, event_id, endpoint)
    assert (delivery.status, [one.error for one in delivery.tries]) == (DeliveryStatus.FAILED, ["gone"])
    assert (topics.WEBHOOK_DISABLED, {"endpoint_id": endpoint.id, "reason": "gone"}) in heard.events
    assert not (await post.endpoints.get(endpoint.id, tenant="default")).enabled


@pytest.mark.parametrize(("status", "after_s"), [(503, 600), (429, 600), (500, 5)])
async def test_a_longer_retry_after_counts_where_the_receiver_is_busy(
    redis: Redis, receiver: Receiver, status: int, after_s: int
) -> None:
    receiver.answer = always(status, Retry_After="600")
    async with posting(redis) as post:
        endpoint = await post.endpoint(receiver.url)
        [event_id] = await emit(post, endpoint)
        await post.drain()
        delivery = await post.outbox.get(event_id, endpoint.id)
    assert delivery.next_ms is not None
    assert 0.85 * after_s < delivery.next_ms / 1_000 - time.time() < 1.15 * after_s


async def test_a_slow_endpoint_holds_up_no_other_and_gets_no_more_than_its_share(redis: Redis) -> None:
    release, at_once, most = asyncio.Event(), 0, 0

    async def hang(_: web.Request) -> web.Response:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await release.wait()
        at_once -= 1
        return web.Response(status=204)

    rules = Webhooks(allow_loopback=True, timeout_s=20, per_endpoint=3, concurrency=8)
    async with receiving() as slow, receiving() as quick, posting(redis, rules=rules) as post:
        slow.answer = hang
        first, second = await post.endpoint(slow.url), await post.endpoint(quick.url)
        await emit(post, first, 20)
        await emit(post, second, 20)

        async def quick_are_told() -> bool:
            await post.deliverer.pump()
            return len(quick.requests) == 20

        await eventually(quick_are_told)
        assert (at_once, most) == (3, 3)
        release.set()
        await post.drain()
        assert len(slow.counts) == 20
        assert most == 3


async def test_after_a_rotation_both_secrets_verify_until_the_overlap_is_over(
    redis: Redis, post: Post, receiver: Receiver
) -> None:
    old = await post.endpoint(receiver.url)
    new = await post.endpoints.rotate(
        old.id, tenant="default", salt=signing.new_salt(), fingerprint=old.fingerprint, overlap_ms=60_000
    )
    await emit(post, old)
    await post.drain()
    await redis.hset(f"aip:webhook:{old.id}", "old_until", "1")
    await emit(post, old)
    await post.drain()
    during, after = receiver.requests
    assert len(during.headers["webhook-signature"].split(" ")) == 2
    for endpoint in (old, new):
        Webhook(shown(endpoint)).verify(during.body, during.headers)
    Webhook(shown(new)).verify(after.body, after.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(shown(old)).verify(after.body, after.headers)


async def test_without_the_right_service_secret_nothing_is_sent_and_nothing_lost(
    redis: Redis, post: Post, receiver: Receiver
) -> None:
    def missing() -> bytes:
        raise ConfigError(["there is none"])

    endpoint = await post.endpoint(receiver.url)
    [event_id] = await emit(post, endpoint)
    for secret in (missing, lambda: b"another service's secret, as it were"):
        with caught_log() as log:
            async with posting(redis, secret=secret) as other:
                await other.drain()
        assert [line["level"].lower() for line in log.lines] == ["error"]
        due_ms = int((await redis.time())[0]) * 1_000
        await redis.zadd(f"aip:outbox:{endpoint.id}", {event_id: due_ms})
        await redis.zadd("aip:outbox", {endpoint.id: due_ms})
    assert receiver.requests == []
    assert (await ended(post, event_id, endpoint)).tries[0].error is None


async def test_an_endpoint_whose_url_the_rules_do_not_allow_any_more_is_not_called(
    redis: Redis, receiver: Receiver
) -> None:
    async with posting(redis, rules=Webhooks()) as post:
        endpoint = await post.endpoint(receiver.url)
        [event_id] = await emit(post, endpoint)
        await post.drain()
        delivery = await post.outbox.get(event_id, endpoint.id)
    assert [one.error for one in delivery.tries] == ["address_refused"]
    assert receiver.requests == []


async def test_a_sender_that_stops_gives_back_what_it_has_not_sent(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setattr("workers.webhooks.deliverer.LAST_SENDS_S", 0.05)
    never = asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response(status=204)

    async with receiving() as receiver, posting(redis, rules=HERE) as next_one:
        receiver.answer = hang
        async with posting(redis, rules=HERE) as post:
            endpoint = await post.endpoint(receiver.url)
            [event_id] = await emit(post, endpoint)
            await post.deliverer.pump()
            await eventually(lambda: receiver.requests)
        receiver.answer = None
        delivery = await ended(next_one, event_id, endpoint)  # at once: nobody waits for a lease
        assert [one.error for one in delivery.tries] == [None]
        assert receiver.counts == {event_id: 2}


async def test_neither_log_nor_events_nor_figures_hold_a_url_or_a_secret(
    redis: Redis, receiver: Receiver, heard: Heard
) -> None:
    receiver.answer = always(410)
    with caught_log(level="debug") as log:
        async with posting(redis, events=heard) as post:
            endpoint = await post.endpoint(receiver.url + "?token=planted")
            await emit(post, endpoint)
            await post.drain()
            figures = repr(post.tracker.get_summary())
    assert receiver.requests
    everything = log.text + repr(heard.events) + figures
    assert "webhook" in everything
    for secret in ("planted", "127.0.0.1", shown(endpoint), endpoint.salt):
        assert secret not in everything
