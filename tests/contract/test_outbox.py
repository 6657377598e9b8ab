"""The outbox on a real Redis: written with a job's end, claimed by one sender at a time, settled once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import orjson
import pytest
import redis as sync_redis
import redis.asyncio as aioredis

from infrastructure.core.error_core import DeliveryNotFound, WebhookBacklog, WebhookDisabled, WebhookNotFound
from tests.support.jobs import audit, let_die, must_claim, new_job, nonce, submitted, success, swept_for_long
from tests.support.waiting import eventually
from tests.support.webhooks import Post, posting
from workers.jobs.models import NewJob, Outcome, ReadyClass, Status
from workers.jobs.store.job_store import JobStore
from workers.jobs.webhooks import outbox as outbox_module
from workers.jobs.webhooks.ids import new_event_id
from workers.jobs.webhooks.models import Due, Ending, Endpoint, Try

pytestmark = pytest.mark.anyio
LEASE_MS = 60_000
MISSED = Try(at_ms=1, status=500, latency_ms=3, error="http_status")
TAKEN = Try(at_ms=1, status=204, latency_ms=3, error=None)


@pytest.fixture
def store(redis: aioredis.Redis) -> JobStore:
    return JobStore(redis)


@pytest.fixture
async def post(redis: aioredis.Redis) -> AsyncIterator[Post]:
    async with posting(redis) as post:
        yield post


@pytest.fixture
async def endpoint(post: Post) -> Endpoint:
    return await post.endpoint("https://hooks.example.com/")


@pytest.fixture(autouse=True)
def sound_keys(redis_url: str) -> Iterator[None]:
    yield
    with sync_redis.Redis.from_url(redis_url) as client:
        assert audit(client) == []


async def job_with(store: JobStore, endpoint: Endpoint, **options: Any) -> str:
    job = new_job(**options)
    named = NewJob(**{**{name: getattr(job, name) for name in job.__slots__}, "webhook": endpoint.id})
    return (await store.submit(named)).job_id


async def emitted(post: Post, endpoint: Endpoint, count: int = 1) -> list[str]:
    ids = sorted(new_event_id() for _ in range(count))  # events of one millisecond are in the order of their ids
    for one in ids:
        await post.outbox.emit(one, endpoint.id, tenant=endpoint.tenant, kind="webhook.test", about=endpoint.id)
    return ids


async def claim(
    post: Post, *, most: int = 100, per_endpoint: int = 100, per_tenant: int = 100, lease_ms: int = LEASE_MS, once: str = ""
) -> list[Due]:  # fmt: skip
    return await post.outbox.claim(
        once or nonce(), most=most, per_endpoint=per_endpoint, per_tenant=per_tenant, lease_ms=lease_ms
    )


async def told(post: Post, endpoint: Endpoint) -> list[tuple[str, str, str]]:
    """Return of each delivery its type, what it is about and its status, oldest first."""
    found, _ = await post.outbox.page(endpoint.id, limit=100, after=None)
    return [(one.type, one.about, one.status.value) for one in reversed(found)]


async def test_every_end_of_a_job_is_one_event_with_its_ids_and_nothing_else(
    store: JobStore, redis: aioredis.Redis, post: Post, endpoint: Endpoint
) -> None:
    completed, failed, cancelled, poisoned, expired, late = [
        await job_with(store, endpoint, deadline_ms=limit) for limit in (9**9, 9**9, 9**9, 9**9, 0, 0)
    ]
    await submitted(store)
    await store.expire_due(limit=1)
    first, second = await must_claim(store), await must_claim(store)
    assert await store.complete(first.fence, success(), nonce="n1")
    assert await store.complete(first.fence, success(), nonce="n1")
    wrong = Outcome(status=Status.FAILED, error=("rate_limited", "slow down"))
    assert await store.complete(second.fence, wrong, nonce="n2")
    assert not await store.complete(second.fence, success(), nonce="n3")
    await store.cancel(cancelled, tenant=None)
    await store.cancel(cancelled, tenant=None)
    for _ in range(4):  # two deaths among others, two alone
        await must_claim(store, "w2", classes=[ReadyClass.SUSPECT, ReadyClass.NORMAL])
        await let_die(redis, "w2")
        await store.sweep()
    assert len(await store.expire_due()) <= 1  # unless a claim has met it
    kinds = {about: kind for kind, about, _ in await told(post, endpoint)}
    assert kinds == {
        completed: "job.completed", failed: "job.failed", cancelled: "job.cancelled",
        poisoned: "job.failed", expired: "job.expired", late: "job.expired",
    }  # fmt: skip
    assert len(await told(post, endpoint)) == 6
    due = await claim(post)
    assert {one.id.removeprefix("evt_") for one in due} == {job_id.removeprefix("job_") for job_id in kinds}
    kept = {b"endpoint", b"type", b"about", b"state", b"created", b"tried", b"claim", b"claimed"}
    for one in due:
        assert set(await redis.hkeys(f"aip:delivery:{one.id}")) == kept
        body = orjson.loads(one.body)
        assert list(body) == ["id", "object", "type", "created_at", "data"]
        assert (body["object"], body["type"], body["data"]) == ("event", kinds[one.about], {"id": one.about})
        assert isinstance(body["created_at"], int)


async def test_a_job_without_a_webhook_or_whose_endpoint_is_gone_tells_nobody(
    store: JobStore, redis: aioredis.Redis, post: Post, endpoint: Endpoint
) -> None:
    await submitted(store)
    orphan = await job_with(store, endpoint)
    await post.endpoints.remove(endpoint.id, tenant="default")
    for _ in range(2):
        await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    job = await store.get(orphan, tenant="default")
    assert job is not None
    assert job.status is Status.COMPLETED
    assert await claim(post) == []
    assert await redis.keys("aip:delivery:*") == []


async def test_an_end_is_told_also_when_memory_is_out(
    store: JobStore, redis: aioredis.Redis, post: Post, endpoint: Endpoint
) -> None:
    for _ in range(4):
        await job_with(store, endpoint)
    await job_with(store, endpoint, deadline_ms=0)
    one, two = await must_claim(store), await must_claim(store)
    cancelled = await must_claim(store)
    [waits] = await emitted(post, endpoint)
    await redis.config_set("maxmemory", 1)
    try:
        assert await store.complete(one.fence, success(), nonce=nonce())
        await store.cancel(cancelled.id, tenant=None)
        assert len(await store.expire_due()) == 1
        assert len(await told(post, endpoint)) == 4
        due = {one.id: one for one in await claim(post)}
        assert len(due) == 4
        await post.outbox.settle(due[waits], Ending.RETRY, attempt=MISSED, wait_ms=0)
        [again] = await claim(post)
        await post.outbox.settle(again, Ending.DELIVERED, attempt=TAKEN)
        await post.outbox.replay(waits, endpoint.id, tenant="default", nonce=nonce())
        await post.endpoints.change(endpoint.id, tenant="default", fields={"enabled": 0})
    finally:
        await redis.config_set("maxmemory", 0)
    assert await store.complete(two.fence, success(), nonce=nonce())


async def test_a_delivery_is_claimed_by_one_sender_and_the_same_nonce_gets_it_again(
    post: Post, endpoint: Endpoint
) -> None:
    ids = await emitted(post, endpoint, 3)
    first = await claim(post, once="a")
    assert [one.id for one in first] == ids
    assert await claim(post, once="b") == []
    assert await claim(post, once="a") == first
    await post.outbox.settle(first[0], Ending.DELIVERED, attempt=TAKEN)
    assert await claim(post, once="a") == first[1:]


async def test_a_claim_that_is_not_settled_is_due_again_after_its_lease_under_the_same_id(
    post: Post, endpoint: Endpoint
) -> None:
    [event_id] = await emitted(post, endpoint)
    [dead] = await claim(post, lease_ms=50)
    [again] = await eventually(lambda: claim(post, lease_ms=LEASE_MS), what="the claim comes back")
    assert (again.id, again.body) == (event_id, dead.body)
    assert again.tried == 0  # a sender's death uses up no attempt
    assert (await post.outbox.settle(dead, Ending.DELIVERED, attempt=TAKEN)).stale
    assert not (await post.outbox.settle(again, Ending.DELIVERED, attempt=TAKEN)).stale
    delivery = await post.outbox.get(event_id, endpoint.id)
    assert [one.error for one in delivery.tries] == ["lost", None]


async def test_settling_twice_counts_once(post: Post, endpoint: Endpoint) -> None:
    [event_id] = await emitted(post, endpoint)
    [due] = await claim(post)
    for _ in range(2):
        assert not (await post.outbox.settle(due, Ending.RETRY, attempt=MISSED, wait_ms=60_000)).stale
    delivery = await post.outbox.get(event_id, endpoint.id)
    assert len(delivery.tries) == 1
    assert delivery.next_ms is not None
    assert await claim(post) == []


async def test_a_retry_waits_and_a_released_one_is_due_at_once_and_uncounted(post: Post, endpoint: Endpoint) -> None:
    await emitted(post, endpoint)
    [due] = await claim(post)
    await post.outbox.settle(due, Ending.RELEASED)
    [due] = await claim(post)
    assert due.tried == 0
    await post.outbox.settle(due, Ending.RETRY, attempt=MISSED, wait_ms=40)
    assert await claim(post) == []
    [due] = await eventually(lambda: claim(post))
    assert due.tried == 1


async def test_a_slow_endpoint_holds_up_no_other_however_much_waits_for_it(
    post: Post, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_module, "LOOKED_AT", 2)
    slow = [
        endpoint,
        await post.endpoint("https://slow.example.com/"),
        await post.endpoint("https://slow.example.org/"),
    ]
    for one in slow:
        await emitted(post, one, 20)
    quick = await post.endpoint("https://quick.example.com/")
    [last] = await emitted(post, quick)
    claimed: list[Due] = []
    while found := await claim(post, per_endpoint=4):
        claimed += found
    assert len([one for one in claimed if one.endpoint != quick.id]) == 12
    assert last in {one.id for one in claimed}
    done = next(one for one in claimed if one.endpoint == endpoint.id)
    await post.outbox.settle(done, Ending.DELIVERED, attempt=TAKEN)
    assert [one.endpoint for one in await claim(post, per_endpoint=4)] == [endpoint.id]


async def test_a_tenant_with_many_slow_endpoints_holds_up_no_other_tenant(post: Post) -> None:
    slow = [await post.endpoint(f"https://slow{n}.example.com/", tenant="slow") for n in range(6)]
    ids = {one for endpoint in slow for one in await emitted(post, endpoint, 2)}
    quick = await post.endpoint("https://quick.example.com/")
    [last] = await emitted(post, quick)
    claimed = await claim(post, per_endpoint=2, per_tenant=5)
    assert len([one for one in claimed if one.endpoint != quick.id]) == 5
    assert last in {one.id for one in claimed}
    assert await claim(post, per_endpoint=2, per_tenant=5) == []
    settled: set[str] = set()
    while claimed:  # each end makes room for one more, without waiting for a lease
        due = claimed.pop()
        await post.outbox.settle(due, Ending.DELIVERED, attempt=TAKEN)
        settled.add(due.id)
        claimed += await claim(post, per_endpoint=2, per_tenant=5)
        assert len(claimed) <= 6
    assert settled == {*ids, last}


async def test_the_room_of_a_dead_sender_is_free_after_its_lease(post: Post, endpoint: Endpoint) -> None:
    ids = await emitted(post, endpoint, 6)
    assert len(await claim(post, per_endpoint=4, lease_ms=60)) == 4
    seen: set[str] = set()

    async def all_of_them() -> bool:
        for one in await claim(post, per_endpoint=4):
            seen.add(one.id)
            await post.outbox.settle(one, Ending.DELIVERED, attempt=TAKEN)
        return seen == set(ids)

    await eventually(all_of_them)


async def test_an_endpoint_that_is_gone_is_disabled_and_what_waits_goes_on_when_it_is_enabled(
    post: Post, endpoint: Endpoint
) -> None:
    ids = await emitted(post, endpoint, 3)
    [due] = await claim(post, most=1)
    settled = await post.outbox.settle(due, Ending.FAILED, attempt=MISSED, reason="gone")
    assert settled.disabled == "gone"
    assert await claim(post) == []
    found = await post.endpoints.get(endpoint.id, tenant="default")
    assert (found.enabled, found.disabled_reason) == (False, "gone")
    with pytest.raises(WebhookDisabled):
        await emitted(post, endpoint)
    found = await post.endpoints.change(endpoint.id, tenant="default", fields={"enabled": 1})
    assert (found.enabled, found.disabled_reason) == (True, None)
    assert [one.id for one in await claim(post)] == ids[1:]


async def test_a_job_that_ends_while_its_endpoint_is_disabled_is_told_later(
    store: JobStore, post: Post, endpoint: Endpoint
) -> None:
    job_id = await job_with(store, endpoint)
    await post.endpoints.change(endpoint.id, tenant="default", fields={"enabled": 0})
    await store.cancel(job_id, tenant=None)
    assert await claim(post) == []
    await post.endpoints.change(endpoint.id, tenant="default", fields={"enabled": 1})
    assert [one.about for one in await claim(post)] == [job_id]


async def test_an_endpoint_that_takes_nothing_for_long_and_often_is_disabled(
    post: Post, endpoint: Endpoint, redis: aioredis.Redis
) -> None:
    await emitted(post, endpoint, outbox_module.LEAST_FAILURES + 1)
    due = await claim(post)
    outcomes = [
        (await post.outbox.settle(one, Ending.RETRY, attempt=MISSED, wait_ms=9**9, disable_after_ms=60_000)).disabled
        for one in due[:-1]
    ]
    assert outcomes == [None] * outbox_module.LEAST_FAILURES  # often, but not for long
    failing = int(await redis.hget(f"aip:webhook:{endpoint.id}", "failing") or 0)
    await redis.hset(f"aip:webhook:{endpoint.id}", "failing", str(failing - 60_001))
    settled = await post.outbox.settle(due[-1], Ending.RETRY, attempt=MISSED, wait_ms=9**9, disable_after_ms=60_000)
    assert settled.disabled == "failing"


async def test_what_expired_while_its_endpoint_was_disabled_holds_up_nothing(
    post: Post, endpoint: Endpoint, redis: aioredis.Redis
) -> None:
    [last] = await emitted(post, endpoint)
    week_ago = int((await redis.time())[0]) * 1_000 - 7 * 86_400_000 - 1
    await redis.zadd(f"aip:outbox:{endpoint.id}", {f"evt_{n:032x}": week_ago - n for n in range(500)})
    assert [one.id for one in await claim(post, per_endpoint=1)] == [last]
    assert await redis.zcard(f"aip:outbox:{endpoint.id}") == 1


async def test_one_success_makes_an_endpoint_well_again(
    post: Post, endpoint: Endpoint, redis: aioredis.Redis
) -> None:  # fmt: skip
    await emitted(post, endpoint, 2)
    one, two = await claim(post)
    await post.outbox.settle(one, Ending.RETRY, attempt=MISSED, wait_ms=9**9)
    assert await redis.hexists(f"aip:webhook:{endpoint.id}", "failing")
    await post.outbox.settle(two, Ending.DELIVERED, attempt=TAKEN)
    assert not await redis.hexists(f"aip:webhook:{endpoint.id}", "failing")
    assert not await redis.hexists(f"aip:webhook:{endpoint.id}", "failures")


async def test_a_replay_sends_again_under_the_old_id_with_the_whole_schedule(post: Post, endpoint: Endpoint) -> None:
    [event_id] = await emitted(post, endpoint)
    [due] = await claim(post)
    await post.outbox.replay(event_id, endpoint.id, tenant="default", nonce="early")  # it is being sent: left alone
    await post.outbox.settle(due, Ending.FAILED, attempt=MISSED)
    assert await told(post, endpoint) == [("webhook.test", endpoint.id, "failed")]
    for _ in range(2):
        delivery = await post.outbox.replay(event_id, endpoint.id, tenant="default", nonce="n")
        assert (delivery.status, delivery.next_ms is not None) == ("pending", True)
    [again] = await claim(post)
    assert (again.id, again.tried, again.body) == (event_id, 0, due.body)
    await post.outbox.settle(again, Ending.DELIVERED, attempt=TAKEN)
    await post.outbox.replay(event_id, endpoint.id, tenant="default", nonce="n")  # the script sent again, late
    assert await claim(post) == []
    assert [one.error for one in (await post.outbox.get(event_id, endpoint.id)).tries] == ["http_status", None]


async def test_only_the_latest_ended_deliveries_are_kept_and_whatever_waits(
    post: Post, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, redis: aioredis.Redis
) -> None:
    monkeypatch.setattr(outbox_module, "MOST_ENDED", 3)
    ids = await emitted(post, endpoint, 8)
    due = await claim(post)
    for one in due[:6]:
        await post.outbox.settle(one, Ending.DELIVERED, attempt=TAKEN)
    found, more = await post.outbox.page(endpoint.id, limit=100, after=None)
    assert {one.id for one in found} == {*ids[3:]}
    assert not more
    assert len(await redis.keys("aip:delivery:*")) == 5


async def test_the_log_is_paged_newest_first(post: Post, endpoint: Endpoint) -> None:
    ids = await emitted(post, endpoint, 5)
    seen: list[str] = []
    more, after = True, None
    while more:
        page, more = await post.outbox.page(endpoint.id, limit=2, after=after)
        seen += [one.id for one in page]
        after = seen[-1]
    assert sorted(seen) == sorted(ids)
    with pytest.raises(DeliveryNotFound):
        await post.outbox.page(endpoint.id, limit=2, after=new_event_id())


async def test_no_tenant_reaches_anothers_endpoint(post: Post, endpoint: Endpoint) -> None:
    [event_id] = await emitted(post, endpoint)
    other = await post.endpoint("https://hooks.example.com/", tenant="other")
    with pytest.raises(WebhookNotFound):
        await post.endpoints.get(endpoint.id, tenant="other")
    with pytest.raises(WebhookNotFound):
        await post.endpoints.change(endpoint.id, tenant="other", fields={"enabled": 0})
    with pytest.raises(WebhookNotFound):
        await post.endpoints.remove(endpoint.id, tenant="other")
    with pytest.raises(WebhookNotFound):
        await post.endpoints.rotate(endpoint.id, tenant="other", salt="s", fingerprint="f", overlap_ms=1)
    with pytest.raises(WebhookNotFound):
        await post.outbox.emit(new_event_id(), endpoint.id, tenant="other", kind="webhook.test", about="x")
    for wrong in (endpoint.id, other.id):
        with pytest.raises(DeliveryNotFound):
            await post.outbox.replay(event_id, wrong, tenant="other", nonce=nonce())
    assert [one.id for one in await post.endpoints.list("other")] == [other.id]


async def test_an_endpoint_with_too_much_waiting_takes_no_more_jobs(post: Post, endpoint: Endpoint) -> None:
    await emitted(post, endpoint, 3)
    await post.outbox.check_open(endpoint.id, most_pending=4)
    with pytest.raises(WebhookBacklog) as refused:
        await post.outbox.check_open(endpoint.id, most_pending=3)
    assert refused.value.retry_after_s is not None


async def test_a_rotation_keeps_the_old_salt_for_its_overlap_only(post: Post, endpoint: Endpoint) -> None:
    await emitted(post, endpoint, 3)
    same = {"tenant": "default", "fingerprint": endpoint.fingerprint}
    for _ in range(2):
        await post.endpoints.rotate(endpoint.id, salt="new", overlap_ms=60_000, **same)
    [due] = await claim(post, most=1)
    assert due.salts == ("new", endpoint.salt)
    await post.endpoints.rotate(endpoint.id, salt="newer", overlap_ms=0, **same)
    [due] = await claim(post, most=1)
    assert due.salts == ("newer",)
    other = {**same, "fingerprint": "another service secret"}
    await post.endpoints.rotate(endpoint.id, salt="newest", overlap_ms=60_000, **other)
    [due] = await claim(post, most=1)
    assert due.salts == ("newest",)


async def test_deaths_of_the_living_tell_nothing(store: JobStore, redis: aioredis.Redis, post: Post, endpoint: Endpoint) -> None:  # fmt: skip
    job_id = await job_with(store, endpoint)
    await must_claim(store)
    await let_die(redis)
    await swept_for_long(redis)
    assert (await store.sweep()).rescued == (job_id,)
    assert await told(post, endpoint) == []
