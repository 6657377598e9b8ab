"""The names of what the service measures, all in one table; a part behind a dot tells one kind from another."""

from __future__ import annotations

import re
from typing import TypeGuard

AI_COMPLETION = "ai_completion"  # a job's completion in a worker, over all its attempts
PROVIDER_CALL = "provider_call"  # one call; by provider: provider_call.openai
CLAIM = "claim"  # the script that gives a worker its next job
COMPLETE = "complete"  # the script that writes a job's end, waits for Redis included
QUEUE_WAIT = "queue_wait"  # from a job's submit to its claim
FAILOVER = "failover"  # from a provider's failure to the next one's call
REQUEST = "request"  # an HTTP request; by route: request.GET./api/v1/jobs/{job_id}
SUBMIT = "submit"  # a job written
REJECTED = "rejected"  # a submit refused for want of room, until that was decided; by reason: rejected.queue_full
CACHE_HIT = "cache_hit"
CACHE_MISS = "cache_miss"  # its value is the time of the whole completion that followed
HEALTH_CACHE_HIT = "health_cache_hit"
HEALTH_CACHE_MISS = "health_cache_miss"
HEALTH_CHECK = "health_check"  # one provider's check
HEALTH_ROUND = "health_round"  # all providers' checks, together
PROVIDER_PROBE = "provider_probe"  # a tiny completion of a check; by provider
PROVIDER_SELECTION = "provider_selection"
CALL_SELECTED = "call_selected"  # a call whose provider was chosen by its score
CALL_EXPLORED = "call_explored"  # a call whose provider was drawn at random: what the chosen are compared with
WEBHOOK = "webhook"  # one attempt of a delivery; its errors are classes of failure
WEBHOOKS_DELIVERED = "webhooks_delivered"  # amounts: deliveries that were taken, whose last attempt failed,
WEBHOOKS_FAILED = "webhooks_failed"
WEBHOOKS_DISABLED = "webhooks_disabled"  # and endpoints that were disabled

# Amounts, by provider:
COST_USD = "cost_usd"
TOKENS = "tokens"  # of the calls whose cost is known
UNPRICED = "unpriced_calls"
PROBE_COST_USD = "probe_cost_usd"  # of health probes, which no tenant pays
PROBE_UNPRICED = "unpriced_probes"

OTHER = "other"
_NAME = re.compile(r"[A-Za-z0-9_.:/{}*-]{1,120}\Z")


def named(base: str, part: str) -> str:
    """Return the name of one kind of an operation."""
    return f"{base}.{part}"


def is_name(name: object) -> TypeGuard[str]:
    """Say whether this may be an operation's name: a sentence, such as a prompt, may not."""
    return isinstance(name, str) and _NAME.match(name) is not None
