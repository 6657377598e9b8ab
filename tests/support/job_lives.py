"""What a job's history, and the list of dead letters, must say of jobs whose hashes are known."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from workers.jobs.models import What
from workers.jobs.store.history import happened

Hash = Mapping[str, bytes]
FOLLOWS = {
    What.QUEUED: {What.IN_PROGRESS, What.CANCELLED, What.EXPIRED},
    What.IN_PROGRESS: set(What) - {What.IN_PROGRESS},
}
FOLLOWS |= dict.fromkeys((What.PUT_BACK, What.RESCUED), FOLLOWS[What.QUEUED])


def audit_history(job_id: str, job: Hash) -> list[str]:
    """Return where a job's history contradicts its state, or itself."""
    told = happened(job.get("hist"))
    steps = [one.what for one in told]
    state = job["state"].decode()
    if not told or steps[0] is not What.QUEUED:
        return [f"{job_id} begins with {steps[:1]}"]
    wrong = [
        f"{job_id} goes from {before} to {after}"
        for before, after in pairwise(steps)
        if after not in FOLLOWS.get(before, set())
    ]
    running = [one.delivery for one in told if one.what is What.IN_PROGRESS]
    fine = {
        f"is {state} after {steps[-1]}": told[-1].what.status.value == state,
        f"counts its steps as {[one.number for one in told]}": [one.number for one in told]
        == list(range(1, len(told) + 1)),
        f"has {job.get('deliveries')!r} deliveries after {steps}": _delivered(steps) == int(job.get("deliveries", 0)),
        f"tells deliveries as {running}": all(0 <= after - before <= 1 for before, after in zip([0, *running], running, strict=False)),
        f"ended at {job.get('finished')!r}, by its history at {told[-1].at_ms}": "finished" not in job
        or int(job["finished"]) == told[-1].at_ms,
        f"has {job.get('deaths')!r} deaths after {steps}": "retry_of" in job
        or steps.count(What.RESCUED) + (job.get("error_code") == b"poisoned") == int(job.get("deaths", 0)),
    }  # fmt: skip
    return wrong + [f"{job_id} {what}" for what, is_so in fine.items() if not is_so]


def _delivered(steps: list[What]) -> int:
    """Return how many deliveries count: those that were not given or put back."""
    back = [after for before, after in pairwise(steps) if before is What.IN_PROGRESS]
    return steps.count(What.IN_PROGRESS) - sum(one in {What.QUEUED, What.PUT_BACK} for one in back)


def audit_dead(client: Any, prefix: str, jobs: Mapping[str, Hash]) -> list[str]:
    """Return where the lists of dead letters, and their retries, do not fit the jobs."""
    poisoned = {job_id for job_id, job in jobs.items() if job.get("error_code") == b"poisoned"}
    listed = {member.decode() for member in client.zrange(f"{prefix}:dead", 0, -1)}
    wrong = [f"{job_id} is poisoned, listed: {job_id in listed}" for job_id in poisoned ^ (listed & jobs.keys())]
    by_tenant = {
        (name.decode().split(":", 2)[2], member.decode())
        for name in client.scan_iter(f"{prefix}:dead:*")
        for member in client.zrange(name, 0, -1)
        if member.decode() in jobs
    }
    own = {(jobs[job_id]["tenant"].decode(), job_id) for job_id in poisoned}
    wrong += [f"{job_id} is not as it should be in the dead letters of {tenant}" for tenant, job_id in own ^ by_tenant]
    retries = {(job["retry_of"].decode(), job_id) for job_id, job in jobs.items() if "retry_of" in job}
    retried = {(job_id, job["retried"].decode()) for job_id, job in jobs.items() if "retried" in job}
    strangers = {pair for pair in retries ^ retried if set(pair) <= jobs.keys()}
    return wrong + [f"{old} and its retry {new} do not know each other" for old, new in strangers]


def audit_claims(client: Any, prefix: str, jobs: Mapping[str, Hash]) -> list[str]:
    """Return the idempotency claims that do not live exactly as long as their job."""
    wrong = []
    for job_id, job in jobs.items():
        if "idem" not in job:
            continue
        name = f"{prefix}:idem:{job['tenant'].decode()}:{job['idem'].decode()}"
        live, life_ms = job["state"] in {b"queued", b"in_progress"}, client.pttl(name)
        if (life_ms == -1) != live or life_ms == -2:
            wrong.append(f"{job_id} is {job['state']!r}, its idempotency claim lives {life_ms} ms")
    return wrong
