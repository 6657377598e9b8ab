"""From the settings to a process under observation: thresholds, alerts, and Sentry where it is configured."""

from __future__ import annotations

import functools
from collections.abc import Mapping

from redis.asyncio import Redis

from infrastructure.core.config_core import Settings, SharedInfraConfigManager
from infrastructure.core.error_core import get_error_handler
from infrastructure.core.error_core.reporting import Report, sentry_report
from infrastructure.core.logger_core import get_logger, logger_manager
from infrastructure.core.performance_core.alerting import Thresholds
from infrastructure.core.performance_core.fleet import process_instance
from infrastructure.core.performance_core.observation import Observation, Section
from infrastructure.core.performance_core.tracker import get_performance_tracker


def observe(
    settings: Settings,
    redis: Redis,
    *,
    kind: str,
    instance: str | None = None,
    sections: Mapping[str, Section] | None = None,
) -> Observation:
    """Return the observation of this process, not yet started.

    `instance` is the process's name, made up where it has none yet; `sections` are what it tells beside its performance.
    """
    apply_settings(settings)
    manager = SharedInfraConfigManager()
    return Observation(
        settings.service.name,
        redis=redis,
        prefix=settings.redis.prefix,
        kind=kind,
        instance=instance or process_instance(kind),
        sections={"logging": logger_manager.get_metrics, "configuration": manager.get_metrics, **(sections or {})},
        follow=lambda: manager.subscribe(lambda change: apply_settings(change.new)),
    )


def apply_settings(settings: Settings) -> None:
    """Let this process's tracker and error handler go by these settings, at the start and after each reload."""
    limits = settings.resources
    get_performance_tracker(settings.service.name).set_thresholds(
        Thresholds(
            response_time_p95_ms=limits.response_time_p95_ms,
            error_rate=limits.error_rate,
            cpu_percent=limits.cpu_percent,
            memory_percent=limits.memory_percent,
            concurrent_operations=limits.concurrent_operations,
        )
    )
    handler = get_error_handler(settings.service.name)
    handler.alert_above(settings.errors.alert_count, window_s=settings.errors.alert_window_s)
    dsn, service = settings.errors.sentry_dsn, settings.service
    sentry = _sentry(dsn.get_secret_value(), service.name, settings.environment, service.version) if dsn else None
    handler.report_to(sentry)


@functools.lru_cache(maxsize=1)  # a reload that changes nothing of it goes on with the same client
def _sentry(dsn: str, service: str, environment: str, release: str) -> Report | None:
    log = get_logger(service, "error_core")
    try:
        report = sentry_report(dsn, environment=environment, release=release)
    except ValueError:  # the SDK's own text quotes the DSN
        log.error("Sentry is configured with something that is no DSN: errors are not reported")
        return None
    if report is None:
        log.warning("Sentry is configured but sentry_sdk is not installed: errors are not reported")
    return report
