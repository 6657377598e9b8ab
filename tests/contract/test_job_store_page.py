"""Lists of jobs: newest first, in pages that neither repeat nor miss while jobs come and go."""

from __future__ import annotations

import pytest
import redis.asyncio as aioredis

from tests.support.jobs import members, must_claim, nonce, submitted, success
from workers.jobs.models import Status
from workers.jobs.store.job_store import JobStore

pytestmark = pytest.mark.anyio


@pytest.fixture
def store(redis: aioredis.Redis) -> JobStore:
    return JobStore(redis)


async def created_order(redis: aioredis.Redis) -> list[str]:
    return members(await redis.zrevrange("aip:tenant:default:jobs", 0, -1))


async def test_pages_lead_through_250_jobs_newest_first_while_new_ones_arrive(
    store: JobStore, redis: aioredis.Redis
) -> None:
    await submitted(store, 250)
    expected = await created_order(redis)
    seen: list[str] = []
    after = None
    while True:
        page = await store.page("default", status=None, limit=40, after=after)
        seen += [job.id for job in page.jobs]
        if not page.has_more:
            break
        assert page.next == page.jobs[-1].id
        after = page.next
        await submitted(store, 7)
    assert seen == expected
    assert page.next is None
    assert len(page.jobs) == 10


async def test_a_list_is_the_tenants_own(store: JobStore) -> None:
    await submitted(store, 3, tenant="acme")
    page = await store.page("other", status=None, limit=10, after=None)
    assert (page.jobs, page.has_more, page.next) == ((), False, None)


async def test_a_page_that_the_list_just_fills_has_no_more(store: JobStore) -> None:
    await submitted(store, 5)
    page = await store.page("default", status=None, limit=5, after=None)
    assert (len(page.jobs), page.has_more) == (5, False)
    assert (await store.page("default", status=None, limit=4, after=None)).has_more


async def test_a_status_is_picked_out_over_page_borders(store: JobStore) -> None:
    ids = await submitted(store, 30)
    chosen = set(ids[::3])
    for job_id in chosen:
        await store.cancel(job_id, tenant="default")
    seen: list[str] = []
    after, more = None, True
    while more:
        page = await store.page("default", status=Status.CANCELLED, limit=4, after=after)
        assert {job.status for job in page.jobs} <= {Status.CANCELLED}
        seen += [job.id for job in page.jobs]
        after, more = page.next, page.has_more
    assert len(seen) == 10
    assert set(seen) == chosen


async def test_a_rare_status_is_found_behind_more_jobs_than_one_run_looks_at(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workers.jobs.store.job_store.SCANNED_IN_ONE_GO", 20)
    rare, *_ = await submitted(store, 100)
    await store.cancel(rare, tenant="default")
    page = await store.page("default", status=Status.CANCELLED, limit=5, after=None)
    assert [job.id for job in page.jobs] == [rare]
    monkeypatch.setattr("workers.jobs.store.job_store.PAGE_RUNS", 2)
    short = await store.page("default", status=Status.CANCELLED, limit=5, after=None)
    assert (short.jobs, short.has_more) == ((), True)
    assert short.next is not None
    found = await store.page("default", status=Status.CANCELLED, limit=5, after=short.next)
    assert found.has_more


async def test_members_whose_job_is_gone_are_passed_over(store: JobStore, redis: aioredis.Redis) -> None:
    ids = await submitted(store, 20)
    order = await created_order(redis)
    gone = set(ids[5:15])
    await redis.delete(*(f"aip:job:{job_id}" for job_id in gone))
    page = await store.page("default", status=None, limit=8, after=None)
    rest = await store.page("default", status=None, limit=8, after=page.next)
    assert [job.id for job in (*page.jobs, *rest.jobs)] == [job_id for job_id in order if job_id not in gone]


async def test_a_cursor_that_the_list_has_forgotten_leads_on_from_its_time(
    store: JobStore, redis: aioredis.Redis
) -> None:
    await submitted(store, 10)
    order = await created_order(redis)
    spread = {job_id: 1_000_000 * n for n, job_id in enumerate(reversed(order), 1)}
    await redis.zadd("aip:tenant:default:jobs", spread)
    forgotten = f"job_{5_500_000:012x}" + "0" * 20
    page = await store.page("default", status=None, limit=20, after=forgotten)
    assert [job.id for job in page.jobs] == order[5:]


async def test_an_unknown_text_as_cursor_gives_an_empty_page(store: JobStore) -> None:
    await submitted(store, 3)
    page = await store.page("default", status=None, limit=2, after="nonsense")
    assert (page.jobs, page.has_more) == ((), False)


async def test_a_list_shows_no_results(store: JobStore) -> None:
    await submitted(store)
    await store.complete((await must_claim(store)).fence, success(), nonce=nonce())
    [job] = (await store.page("default", status=None, limit=5, after=None)).jobs
    assert (job.status, job.result, job.cost_usd) == (Status.COMPLETED, None, 0.5)
