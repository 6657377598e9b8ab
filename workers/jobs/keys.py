"""Names of the job store's keys and channels, and the key map.

Every name begins with the prefix (`aip:` unless configured otherwise). `{p}` stands for a part that varies. A key that
holds live work has no expiry: a slow queue must not lose it. It goes with its last member, or gets its expiry from the
script that ends the job. Whatever else has none is listed in `WITHOUT_EXPIRY`, and is bounded.

    key                      type    expiry                    meaning
    job:{id}                 hash    result_ttl_s after        the job; its fields are below
                                     its end, none before
    idem:{tenant}:{digest}   string  as its job, and 24 h      an idempotency key's job: id:body digest; see
                                     from its submit at least  IdempotencyGone
    once:{tenant}:{scope}:{digest}
                             hash    a lease while it is made, an idempotency key of what takes several steps (files,
                                     24 h or more after it     batches): body, holder, value; see jobs/idempotency
    tenant:{tenant}:jobs     zset    after its last job        id -> created, for the list; trimmed at submit
    tenant:{tenant}:delayed  zset    1 h after the last is due id -> due: the tenant's part of jobs:delayed, to be counted
    ended:{slot}             hash    1 min                     tenant -> jobs that ended in 5 s, *: of all; how fast the
                                                               queue drains
    ready:{class}:{flow}     zset    none: empties             id -> created: jobs that wait, oldest first
    flows:{class}            zset    none: empties             flow -> turns it was given: the least served is next
    turns                    hash    none: three fields        claims, slots: how many over several classes; lower: the lower
                                                               class served last
    jobs:deadline            zset    none: empties             id -> instant of its deadline
    jobs:delayed             zset    none: empties             id -> instant from which it is due: jobs put back until then
    waiting:{place}          zset    1 h after the last is due class -> rank: classes with jobs that wait for a slot there; a
                                                               place is a provider, or provider|model
    waiting:{place}:{class}  zset    the same                  flow -> turns it was given
    waiting:{place}:{class}:{flow}   zset   the same           id -> created
    workers                  zset    none: empties             owner -> instant of its last heartbeat
    owner:{owner}:jobs       hash    none: empties             claim nonce -> id: what a worker process has
    sweep                    hash    ten leases                last: the last sweep; since: the first without a gap
    dead                     zset    with its last job         id -> finished: dead letters
    dead:{tenant}            zset    with its last job         the same, of one tenant
    late:{nonce}             string  result_ttl_s              cost of a refused completion whose job is gone
    counters                 hash    none: four fields         stale_writes, late_cost_usd, rescued, poisoned
    key:{id}                 hash    none: made by hand        an API key: see api/keys.py
    keys                     set     none: made by hand        ids of all API keys
    metrics:{instance}       string  five intervals            a process's figures: see performance_core/fleet.py
    metrics                  zset    five intervals            instance -> instant it published its figures last
    services                 zset    12 s                      name:id -> last heartbeat: see service_discovery
    service:{name}:{id}      string  12 s                      what a process says of itself, as JSON
    cache:{space}:…          -       each its own              cached values and their log: see cache_core/names.py;
                                                               answers: cache:{version}:{tenant}:{sha256}, see
                                                               providers/caching and docs/cache-key.md
    flight:{version}:{tenant}:{sha256}
                             hash    flights.lease_s while     equal requests under way: leader, w:{owner} of each process
                                     led, flights.kept_s       that waits, landed (the answer, packed): see
                                     once landed               providers/flights/scripts/flights.lua
    ringer                   string  2.4 heartbeats            the ringer's first look found ready jobs without a message
    advised:{kind}:{digest}  string  1 h                       a process has said what is wrong with Redis: see redis_check
    slot:{task}              string  4/5 of its interval       an upkeep task ran a moment ago
    mq:*                     -       none: kombu's own         Celery's: lists of messages, bindings
    breaker:{provider}       hash    1 h after its last change breaker of a provider account, and what is left of its
                                                               configured limits: see gate/scripts/include
    breaker:{provider}:{model}   hash   the same               breaker and figures of a provider's model
    inflight:{provider}      hash    none: empties             owner -> calls in flight at the account
    inflight:{provider}:{model}  hash   none: empties          owner -> calls in flight at the model
    attempts:{owner}         hash    none: empties             attempt -> JSON: provider calls under way
    targets                  zset    1 h                       [provider, model, …] -> last call: the last 1,000
    booked:{attempt}         string  1 day                     a call made while Redis was away is booked
    cost:{day}               hash    90 days                   tenant|provider|model|what -> amount: see gate/costs.py
    health:{provider}        string  5 min                     the last check of a provider, as JSON: see jobs/health.py
    health:round             string  a round of checks         token of the prober that checks now
    prices                   hash    7 days                    provider:model -> USD a token: see jobs/prices.py
    credited:{nonce}         string  10 min                    what a group of answers saved is booked
    webhook:{id}             hash    none: made by hand        a webhook endpoint: url, description, enabled, salt of its secret,
                                                               …; see webhooks/endpoints.py
    tenant:{tenant}:webhooks zset    none: made by hand        endpoint -> created
    idem:webhook:{tenant}:{digest}   string  1 day             an idempotency key's endpoint: id:body digest
    delivery:{id}            hash    7 days                    an event on its way to an endpoint: type, state, attempts
    outbox                   zset    none: empties             enabled endpoint -> the next look for deliveries that are due
    outbox:{endpoint}        zset    7 days                    delivery -> instant from which it is due; a claim is due again
                                                               when its lease ends
    outbox:{endpoint}:busy   zset    a lease                   delivery being sent -> end of its lease
    outbox:tenant:{tenant}   zset    a lease                   the same of all endpoints of a tenant; …:wait: endpoints that
                                                               wait for one to end
    outbox:{endpoint}:log    zset    7 days                    delivery -> created
    outbox:{endpoint}:ended  zset    7 days                    delivery -> its end, of the last 1,000
    outbox:claim:{nonce}     string  a lease                   deliveries that a claim got
    none                     -       never written             its delete opens scripts that must work on a full Redis

    channel                  message
    done                     the id of each job that ended
    moved:{id}               nothing; said when a job's history has grown, and it has not ended
    events                   events of the fleet as JSON: see event_core
    stop:{owner}             the nonce of a claim whose call must stop
    flights:{owner}          the name of a flight that a process waits for, which landed or has no leader any more

Fields of `job:{id}` (instants in ms since 1970 by Redis; a field that says nothing is left out):

    state, tenant, kind, model, class, flow, created, deadline     from the submit; class becomes suspect at rescue
    req                      packed request; deleted at the end, kept in a dead letter
    rid                      id of the request that submitted it, at most 128 characters: lines of both sides share it
    meta, cfg, idem          metadata as JSON, version of the configuration (of the run, once it ran), digest in the name of the idempotency claim
    started, owner, cnonce   of the delivery that runs: since when, whose, under which claim nonce
    fence                    counter:nonce; new at each claim, held by nobody (`counter:none`) after it was taken away
    deliveries, deaths       claims that were not given back; owners that died holding the job
    finished, dnonce         the end, and the nonce of the completion that wrote it
    result, usage, cost, saved, saved_ms, cache, attempts, error_code, error_message     the outcome
    webhook                  id of the endpoint that hears of its end
    back                     fence under which it was put back last
    waits, waits_until       of a job that was put back, till its next claim: why, and until when
    hist                     what happened to it, and when: see store/scripts/include/common.lua, models.Happened
    retry_of, retried        of a dead letter's retry: the dead letter; of a dead letter: the job that is its retry
    late:{nonce}             cost of a completion that was refused, empty when unknown
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from urllib.parse import quote

WITHOUT_EXPIRY = (
    "job:*",  # while the job is queued or in progress
    "idem:*",  # the same
    "ready:*",
    "flows:*",
    "turns",
    "jobs:deadline",
    "jobs:delayed",
    "workers",
    "owner:*:jobs",
    "attempts:*",
    "inflight:*",
    "counters",
    "key:*",  # API keys, until they are removed by hand; see api/keys.py
    "keys",
    "webhook:*",  # endpoints, until they are removed by hand; see webhooks/endpoints.py
    "tenant:*:webhooks",
    "outbox",
    "mq:*",  # kombu's: bindings, and a queue's list until it is empty
)
"""Patterns of the keys that may have no expiry (the first two only while their job lives)."""


def idempotency_digest(key: str) -> str:
    """Return what stands for a caller's idempotency key in a key's name."""
    return hashlib.sha256(key.encode()).hexdigest()[:32]


LONGEST_PART = 96


@lru_cache(maxsize=4096)
def part(text: str) -> str:
    """Return what stands for a provider, model or tenant in a name: no `:`, `|` or space, bounded, one for each text."""
    escaped = quote(text, safe="/@+")
    if len(escaped) <= LONGEST_PART:
        return escaped
    return f"{escaped[:64]}~{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:24]}"


def job(prefix: str, job_id: str) -> str:
    """Return the name of a job's hash."""
    return f"{prefix}:job:{job_id}"


def attempts(prefix: str, owner: str) -> str:
    """Return the name of the hash of a worker process's open attempts."""
    return f"{prefix}:attempts:{owner}"


def cost(prefix: str, day: str) -> str:
    """Return the name of a day's ledger; the day is YYYY-MM-DD by UTC."""
    return f"{prefix}:cost:{day}"


def counters(prefix: str) -> str:
    """Return the name of the hash of counters."""
    return f"{prefix}:counters"


def delayed(prefix: str) -> str:
    """Return the name of the set of jobs that were put back until a known moment."""
    return f"{prefix}:jobs:delayed"


def moved(prefix: str, job_id: str) -> str:
    """Return the channel that tells when something happened to a job other than its end."""
    return f"{prefix}:moved:{job_id}"


def done(prefix: str) -> str:
    """Return the channel that tells the id of each job that ended."""
    return f"{prefix}:done"


def stop(prefix: str, owner: str) -> str:
    """Return the channel that tells a worker process which of its claims must stop."""
    return f"{prefix}:stop:{owner}"


def webhook(prefix: str, endpoint_id: str) -> str:
    """Return the name of a webhook endpoint's hash."""
    return f"{prefix}:webhook:{endpoint_id}"


def webhooks(prefix: str, tenant: str) -> str:
    """Return the name of the set of a tenant's webhook endpoints."""
    return f"{prefix}:tenant:{tenant}:webhooks"


def delivery(prefix: str, delivery_id: str) -> str:
    """Return the name of a webhook delivery's hash."""
    return f"{prefix}:delivery:{delivery_id}"


def outbox(prefix: str, endpoint_id: str, *part: str) -> str:
    """Return the name of the set of an endpoint's pending deliveries, or of a part of it: busy, log, ended."""
    return ":".join((prefix, "outbox", endpoint_id, *part))
