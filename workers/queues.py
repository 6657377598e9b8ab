"""Names of the queues and tasks, with the Celery settings that every process of the fleet shares.

Whoever publishes (front door, beat) and whoever consumes must agree on these, so they stand in one place that loads
neither tasks nor providers.
"""

from __future__ import annotations

from typing import Any, Final

from kombu import Exchange, Queue

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ConfigError
from infrastructure.core.redis_core import (
    CONNECT_TIMEOUT_S,
    HEALTH_CHECK_S,
    SOCKET_TIMEOUT_S,
    celery_options,
    celery_url,
    check_url,
)

COMPLETIONS: Final = "completions"
UPKEEP: Final = "upkeep"

TASK_COMPLETION: Final = "completion"
TASK_RESCUE: Final = "upkeep.rescue"
TASK_RING: Final = "upkeep.ring"
TASK_EXPIRE: Final = "upkeep.expire"
TASK_PROMOTE: Final = "upkeep.promote"
TASK_HEALTH: Final = "upkeep.health"
TASK_SUSPECT: Final = "upkeep.suspect"
TASK_WEBHOOKS: Final = "upkeep.webhooks"

HEALTH_S: Final = 1.0
"""From look to look at the providers' health; whether anything is checked then is the prober's to say."""
UPKEEP_SOFT_LIMIT_S: Final = 60


def broker_url(settings: Settings) -> str:
    """Return the broker's URL, as redis-py spells it.

    Raises:
        ConfigError: there is none.
    """
    secret = settings.redis.broker_url or settings.redis.url
    if secret is None:
        raise ConfigError(
            ["redis.url: expected a URL (REDIS_URL); only `ai-provider up` and `demo` start an embedded server"]
        )
    url = secret.get_secret_value()
    check_url(url)
    return url


def broker_prefix(settings: Settings) -> str:
    """Return what stands before every key that Celery itself writes."""
    return f"{settings.redis.prefix}:mq:"


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Return the Celery configuration; reasons for the numbers are in docs/ARCHITECTURE.md.

    Raises:
        ConfigError: no broker is configured.
    """
    return {
        "broker_url": celery_url(broker_url(settings)),
        "broker_transport_options": {
            # Without these kombu waits for ever. No `retry*` key may be added: it would silently end batched publishing.
            "socket_timeout": SOCKET_TIMEOUT_S,
            "socket_connect_timeout": CONNECT_TIMEOUT_S,
            "socket_keepalive": True,
            "health_check_interval": HEALTH_CHECK_S,
            "global_keyprefix": broker_prefix(settings),
            # Early acks: kombu's register of unacknowledged messages would be written and deleted at once, three round
            # trips on the consumer's thread for a promise that the job store keeps. Twice the messages a second without.
            "ack_emulation": False,
            **celery_options(broker_url(settings)),
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # The job store holds the truth; no result ever travels through Celery.
        "result_backend": "disabled://",
        "task_ignore_result": True,
        "accept_content": ["json"],
        "task_serializer": "json",
        "event_serializer": "json",
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in (COMPLETIONS, UPKEEP)],
        "task_default_queue": UPKEEP,
        "task_create_missing_queues": False,
        "task_routes": {TASK_COMPLETION: {"queue": COMPLETIONS}, "upkeep.*": {"queue": UPKEEP}},
        # Early acks: a lost message is rung again by the ringer, and late acks would add sweeps and a mutex.
        "task_acks_late": False,
        "worker_disable_prefetch": True,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_consumer": "workers.pool.consumer:Consumer",
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": True,
        "task_send_sent_event": True,
        "enable_utc": True,
        "timezone": "UTC",
    }
