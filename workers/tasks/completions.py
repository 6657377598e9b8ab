"""The completion task: a doorbell was heard, so one job due is run."""

from __future__ import annotations

from typing import Any

from celery import Celery

from infrastructure.core.config_core import Settings
from workers import queues
from workers.jobs.models import COMPLETION_CLASSES
from workers.pool.bridge import await_
from workers.runtime.process import Process


def register(app: Celery, process: Process, settings: Settings) -> None:
    """Add the task to an app; its body runs on the loop of `process`."""

    @app.task(
        name=queues.TASK_COMPLETION,
        ignore_result=True,
        soft_time_limit=settings.worker.soft_limit_s,
        time_limit=settings.worker.hard_limit_s,
    )
    def completion(hint: str = "") -> dict[str, Any]:
        return await_(process.runtime.run_job(hint, classes=COMPLETION_CLASSES))
