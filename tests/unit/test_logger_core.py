"""The log's form, and what never gets into it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from infrastructure.core.logger_core import bound_contextvars, configure_logging, get_logger

FIELDS = ["timestamp", "level", "service", "service_id", "message", "module", "function", "context"]


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logging("ai-provider", stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_a_line_has_exactly_the_fields_in_order_and_ids_arrive_by_themselves(log: io.StringIO) -> None:
    with bound_contextvars(job_id="job_1"):
        get_logger("ai-provider", "worker").info("Job done", context={"provider": "openai"})

    line = json.loads(log.getvalue())
    assert list(line) == FIELDS
    assert line["level"] == "INFO"
    assert line["service_id"] == "ai-provider-001"
    assert line["module"] == "worker"
    assert line["function"] == "test_a_line_has_exactly_the_fields_in_order_and_ids_arrive_by_themselves"
    assert line["context"] == {"job_id": "job_1", "provider": "openai"}


def test_a_librarys_line_has_the_same_form_and_no_exception_text(log: io.StringIO) -> None:
    try:
        raise ValueError("a prompt is quoted here")
    except ValueError:
        logging.getLogger("celery.worker").exception("It broke")

    line = json.loads(log.getvalue())
    assert list(line) == FIELDS
    assert line["module"] == "celery.worker"
    assert line["context"]["error_type"] == "ValueError"
    assert "prompt" not in log.getvalue()
