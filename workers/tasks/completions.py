"""The completion task: a doorbell was heard, so one job due is run."""

from __future__ import annotations

from typing import Any

from billiard.exceptions import Terminated
from celery import Celery

from infrastructure.core.config_core import Settings
from workers import queues
from workers.jobs.models import COMPLETION_CLASSES
from workers.pool.bridge import await_
from workers.runtime.process import Process


class JobFailed(Exception):
    """A job ended without an answer; tells Celery's events, and with them Flower, what the job's own record says.

    Its text is the job's id and the stable code, nothing of what the provider said.
    """


def register(app: Celery, process: Process, settings: Settings) -> None:
    """Add the task to an app; its body runs on the loop of `process`."""

    @app.task(
        name=queues.TASK_COMPLETION,
        ignore_result=True,
        soft_time_limit=settings.worker.soft_limit_s,
        time_limit=settings.worker.hard_limit_s,
        throws=(JobFailed, Terminated),
    )
    def completion(hint: str = "") -> dict[str, Any]:
        return truth(await_(process.runtime.run_job(hint, classes=COMPLETION_CLASSES)))


def truth(summary: dict[str, Any]) -> dict[str, Any]:
    """Return what a task says of the job it ran, or raise what makes Celery count it as what it was.

    Raises:
        JobFailed: the job failed or expired (task-failed).
        Terminated: it was cancelled (task-revoked).
    """
    if summary["status"] in {"failed", "expired"}:
        raise JobFailed(f"{summary['job']}: {summary['error']}")
    if summary["status"] == "cancelled":
        raise Terminated(f"{summary['job']} was cancelled")
    return summary
