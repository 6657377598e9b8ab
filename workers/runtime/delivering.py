"""The deliverer of webhooks of an upkeep process, made of the process's parts."""

from __future__ import annotations

import time

from redis.asyncio import Redis

from infrastructure.core.config_core import CoreConfig
from infrastructure.core.config_core.sections import Webhooks
from infrastructure.core.logger_core import get_logger
from infrastructure.core.performance_core import PerformanceTracker
from infrastructure.core.service_secret import hmac_secret
from infrastructure.optional.event_core import Publisher
from workers.handlers.webhooks import Courier
from workers.jobs.webhooks.guard import Guard, SystemLookup
from workers.jobs.webhooks.outbox import Outbox
from workers.webhooks.deliverer import Deliverer
from workers.webhooks.sender import Sender


def deliverer_of(config: CoreConfig, *, redis: Redis, events: Publisher, tracker: PerformanceTracker) -> Deliverer:
    """Return the deliverer. It never makes the service's secret: without the front door's it sends nothing."""
    log = get_logger(config.settings.service.name, "webhooks")

    def rules() -> Webhooks:
        return config.settings.webhooks

    sender = Sender(Guard(rules, lookup=SystemLookup()))
    courier = Courier(
        outbox=Outbox(redis, prefix=config.settings.redis.prefix),
        post=lambda where, body, headers, timeout_s: sender.post(where, body, headers, timeout_s=timeout_s),
        secret=lambda: hmac_secret(config.settings, make=False),
        rules=rules,
        now_s=time.time,
        log=log,
    )
    return Deliverer(courier, sender, rules=rules, events=events, tracker=tracker, log=log)
