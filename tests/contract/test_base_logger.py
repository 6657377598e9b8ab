"""What every logger promises, judged by one body on the null and on the real one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infrastructure.base.base_logger import BaseLogger, LogLevel, NullLogger
from infrastructure.core.logger_core import CoreLogger
from tests.support.logs import CaughtLog, caught_log

KINDS = {"null": NullLogger, "base": BaseLogger, "core": CoreLogger}


@pytest.fixture
def log() -> Iterator[CaughtLog]:
    with caught_log() as log:
        yield log


@pytest.fixture(params=KINDS)
def logger(request: pytest.FixtureRequest, log: CaughtLog) -> BaseLogger:
    kind: type[BaseLogger] = KINDS[request.param]
    return kind("ai-provider", "007")


def test_it_knows_whose_it_is_and_has_a_number_when_it_was_given_none(logger: BaseLogger) -> None:
    assert (logger.service_name, logger.service_id) == ("ai-provider", "007")
    unnumbered = type(logger)("ai-provider")
    assert (unnumbered.service_id, unnumbered.context) == ("001", {})


def test_every_method_takes_what_the_guide_gives_it_and_returns_nothing(logger: BaseLogger) -> None:
    logger.add_context("provider", "openai")
    logger.log(LogLevel.INFO, "Said")
    logger.log(LogLevel.INFO, "Said", {"provider": "openai"})
    for level in LogLevel:
        speak = getattr(logger, level.value)
        assert speak("Said") is None
        assert speak("Said", context={"provider": "openai"}) is None
        assert speak("Said", {"provider": "openai"}, exc=ValueError("a prompt")) is None
    logger.log_request("POST", "/api/v1/completion", 200, 850.2, "user_123")
    logger.log_request("POST", "/api/v1/completion", 200, 850.2)
    logger.log_business_event("ai_completion_success", {"cost": 0.00043}, user_id="user_123")


@pytest.mark.parametrize(
    "context", [{}, {"provider": object()}, {1: 2}, {"nested": {"a": [1, {"b": {}}]}}, {"value": 10**400}]
)
def test_no_context_breaks_who_logs(logger: BaseLogger, context: dict[str, object]) -> None:
    logger.info("Said", context=context)
    logger.add_context("value", context)
    logger.info("Said")


def test_a_level_is_taken_as_word_or_constant_and_nothing_else_is(logger: BaseLogger) -> None:
    for level in ("debug", "INFO", LogLevel.ERROR):
        logger.set_log_level(level)
    with pytest.raises(
        ValueError, match="expected a level to be one of debug, info, warning, error, critical, got 'loud'"
    ):
        logger.set_log_level("loud")


def test_its_figures_count_lines_by_level(logger: BaseLogger) -> None:
    before = logger.get_metrics()["lines"]
    logger.warning("Said")
    after = logger.get_metrics()["lines"]
    assert list(after) == ["debug", "info", "warning", "error", "critical"]
    written = 1 if isinstance(logger, CoreLogger) else 0
    assert {level: after[level] - before[level] for level in after} == {**dict.fromkeys(after, 0), "warning": written}


def test_only_the_real_one_writes(logger: BaseLogger, log: CaughtLog) -> None:
    logger.add_context("provider", "openai")
    logger.info("Said")
    assert bool(log.text) is isinstance(logger, CoreLogger)


def test_the_null_one_keeps_nothing() -> None:
    null = NullLogger("ai-provider")
    null.add_context("provider", "openai")
    assert null.context == {}
