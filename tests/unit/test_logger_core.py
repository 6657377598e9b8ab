"""The log's form: the guide's fields, its methods, its levels and figures."""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from infrastructure.base.base_logger import LogLevel
from infrastructure.core.logger_core import (
    CoreLogger,
    Kind,
    LoggerManager,
    bound_contextvars,
    configure_logging,
    get_logger,
    logger_manager,
)
from tests.support.logs import CaughtLog, caught_log


@pytest.fixture
def log() -> Iterator[CaughtLog]:
    with caught_log() as log:
        yield log


def test_a_line_has_exactly_the_fields_in_order_and_ids_arrive_by_themselves(log: CaughtLog) -> None:
    with bound_contextvars(job_id="job_1", tenant=None):
        get_logger("ai-provider", "worker").info("Job done", context={"provider": "openai"})

    assert log.line.pop("timestamp")
    assert {**log.line, "timestamp": ""} == {
        "timestamp": "",
        "level": "INFO",
        "service": "ai-provider",
        "service_id": "ai-provider-001",
        "message": "Job done",
        "module": "worker",
        "function": "test_a_line_has_exactly_the_fields_in_order_and_ids_arrive_by_themselves",
        "context": {"job_id": "job_1", "provider": "openai"},
    }


def test_the_guides_health_line_comes_out_whole(log: CaughtLog) -> None:
    logger = get_logger("ai-provider", "litellm_manager")
    context = {"provider": "openai", "status": "healthy", "response_time_ms": 150.2, "success_rate": 0.98}
    logger.info("Provider health check completed", context=context)
    assert (log.line["message"], log.line["context"]) == ("Provider health check completed", context)


def test_the_guides_performance_line_comes_out_whole(log: CaughtLog) -> None:
    context = {"cache_key": "completion:abc123", "performance_improvement": "90% faster", "response_time_ms": 0.05}
    get_logger("ai-provider", "cache").info("Cache hit for completion request", context=context)
    assert log.line["context"] == context


def test_the_guides_error_line_comes_out_whole(log: CaughtLog) -> None:
    context = {"provider": "openai", "error_type": "AuthenticationError", "retry_count": 2, "will_failover": True}
    get_logger("ai-provider", "litellm_manager").error("Provider completion failed", context=context)
    assert (log.line["level"], log.line["context"]) == ("ERROR", context)


def test_a_request_is_told_with_route_status_and_time_but_without_its_query(log: CaughtLog) -> None:
    get_logger("ai-provider", "main").log_request("POST", "/api/v1/completion?key=abc", 200, 850.2, "user_123")
    assert log.line["context"] == {
        "method": "POST", "path": "/api/v1/completion", "status_code": 200, "duration_ms": 850.2, "user_id": "user_123"
    }  # fmt: skip
    assert log.line["function"] == "test_a_request_is_told_with_route_status_and_time_but_without_its_query"


def test_a_business_event_has_its_name_in_the_context_and_says_it_in_words(log: CaughtLog) -> None:
    data = {"provider": "openai", "model": "gpt-3.5-turbo", "cost": 0.00043, "tokens": 215}
    get_logger("ai-provider", "main").log_business_event("ai_completion_success", data, user_id="user_123")
    assert log.line["message"] == "AI completion successful"
    assert log.line["context"] == {"event": "ai_completion_success", **data, "user_id": "user_123"}


def test_a_business_event_of_another_name_is_told_by_its_name(log: CaughtLog) -> None:
    get_logger("ai-provider", "main").log_business_event("budget_spent", {"cost": 3})
    assert (log.line["message"], log.line["context"]["event"]) == ("budget_spent", "budget_spent")


@pytest.mark.parametrize("level", list(LogLevel))
def test_each_level_has_a_method_and_log_takes_any(log: CaughtLog, level: LogLevel) -> None:
    logger = CoreLogger("ai-provider", log_level=LogLevel.DEBUG)
    getattr(logger, level.value)("Said")
    logger.log(level, "Said")
    assert [line["level"] for line in log.lines] == [level.name, level.name]


def test_added_context_stands_in_all_lines_of_the_logger_and_in_no_others(log: CaughtLog) -> None:
    logger = CoreLogger("ai-provider")
    logger.add_context("provider", "openai")
    logger.info("First")
    logger.info("Second", context={"provider": "anthropic"})
    CoreLogger("ai-provider").info("Third")
    assert [line["context"] for line in log.lines] == [{"provider": "openai"}, {"provider": "anthropic"}, {}]


@pytest.mark.parametrize(
    ("given", "told"), [("007", "billing-007"), ("billing-007", "billing-007"), (None, "billing-001")]
)
def test_the_service_id_is_the_services_name_and_a_number(log: CaughtLog, given: str | None, told: str) -> None:
    CoreLogger("billing", given).info("Said")
    assert (log.line["service"], log.line["service_id"]) == ("billing", told)


def test_the_processs_id_is_everybodys_who_has_none() -> None:
    with caught_log(service_id="002") as log:
        get_logger("ai-provider", "main").info("Said")
    assert log.line["service_id"] == "ai-provider-002"


def test_modules_loggers_take_the_name_that_the_configuration_gives_the_service() -> None:
    stream = io.StringIO()
    configure_logging("answers", stream=stream)
    try:
        get_logger("ai-provider", "main").info("Said")
        get_logger("billing", "main").info("Said")
    finally:
        logger_manager.close()
    assert [json.loads(line)["service_id"] for line in stream.getvalue().splitlines()] == ["answers-001", "billing-001"]


def test_without_a_module_the_callers_file_is_told(log: CaughtLog) -> None:
    CoreLogger("ai-provider").info("Said")
    assert log.line["module"] == "test_logger_core"


def test_loggers_of_a_process_follow_one_level_that_changes_while_it_runs(log: CaughtLog) -> None:
    one, other, own = get_logger("ai-provider", "a"), get_logger("ai-provider", "b"), CoreLogger("ai-provider")
    one.debug("Unheard")
    one.set_log_level("debug")
    other.debug("Heard")
    own.debug("Unheard")
    other.set_log_level(LogLevel.ERROR)
    one.warning("Unheard")
    own.info("Heard")
    assert [line["message"] for line in log.lines] == ["Heard", "Heard"]


def test_a_logger_with_a_level_of_its_own_changes_alone(log: CaughtLog) -> None:
    own = CoreLogger("ai-provider", log_level=LogLevel.ERROR)
    own.info("Unheard")
    own.set_log_level("INFO")
    own.info("Heard")
    get_logger("ai-provider", "a").debug("Unheard")
    assert log.line["message"] == "Heard"


def test_a_word_that_is_no_level_or_format_is_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        get_logger("ai-provider", "a").set_log_level("loud")
    with pytest.raises(ValueError, match="expected output_format to be one of json, console, got 'xml'"):
        CoreLogger("ai-provider", output_format="xml")


def test_a_line_of_no_level_counts_as_info_and_one_line_says_so(log: CaughtLog) -> None:
    logger = CoreLogger("ai-provider")
    for _ in range(2):
        logger.log("nolevel", "Said")  # type: ignore[arg-type]
    assert [line["level"] for line in log.lines] == ["WARNING", "INFO", "INFO"]
    assert log.lines[0]["message"].startswith("Expected a level to be one of debug, info, warning, error, critical")


def test_an_added_key_off_the_allow_list_is_named_its_texts_are_withheld_and_its_numbers_pass(log: CaughtLog) -> None:
    logger = CoreLogger("ai-provider")
    logger.add_context("customer", "a question of theirs")
    logger.add_context("shoe_size", 42)
    logger.add_context(f"run{len(log.text)}", 1)
    logger.info("Said")
    assert log.line["context"] == {"customer": "[withheld]", "shoe_size": 42}


def test_a_user_of_the_library_allows_keys_of_its_own() -> None:
    stream, manager = io.StringIO(), LoggerManager()
    manager.allow_keys(customer=Kind.ID, region=Kind.NAME)
    manager.configure("billing", stream=stream)
    try:
        logger = manager.get_logger("billing", "a")
        logger.add_context("region", "eu-west")
        logger.info("Said", context={"customer": "cus_1"})
        logger.info("Said", context={"customer": "sk-abcdefgh12345678"})
        logger.info("Said", context={"customer": "who asks a question"})
    finally:
        manager.close()
    found = [json.loads(line)["context"]["customer"] for line in stream.getvalue().splitlines()]
    assert found == ["cus_1", "[redacted]", "[withheld]"]
    assert '"region":"eu-west"' in stream.getvalue()
    with pytest.raises(ValueError, match="expected a key"):
        manager.allow_keys(**{"a b": Kind.NAME})


def test_a_person_reads_time_level_message_and_context() -> None:
    with caught_log(output_format="console") as log:
        get_logger("ai-provider", "a").warning("Said", context={"provider": "openai", "count": 2})
    assert re.fullmatch(r"\d\d:\d\d:\d\d WARNING  Said provider=openai count=2\n", log.text)


def test_a_logger_may_write_for_a_person_while_the_process_writes_json(log: CaughtLog) -> None:
    CoreLogger("ai-provider", output_format="console").info("Said")
    assert log.text.endswith(" INFO     Said\n")


def test_times_are_utc_as_the_guide_writes_them() -> None:
    stream = io.StringIO()
    manager = LoggerManager(now=lambda: datetime(2024, 1, 1, 12, 0, 0, 5, tzinfo=UTC))
    manager.configure("ai-provider", stream=stream)
    try:
        manager.get_logger("ai-provider", "a").info("Said")
    finally:
        manager.close()
    assert '"timestamp":"2024-01-01T12:00:00.000005Z"' in stream.getvalue()


async def _two_jobs() -> None:
    async def job(number: int) -> None:
        with bound_contextvars(job_id=f"job_{number}"):
            await asyncio.sleep(0)
            get_logger("ai-provider", "a").info("Said", context={"count": number})

    await asyncio.gather(job(1), job(2))


def test_ids_of_jobs_that_run_at_once_do_not_mix(log: CaughtLog) -> None:
    asyncio.run(_two_jobs())
    assert [line["context"] for line in log.lines] == [{"job_id": f"job_{n}", "count": n} for n in (1, 2)]


def test_lines_of_many_threads_come_out_whole_and_counted(log: CaughtLog) -> None:
    logger, before = get_logger("ai-provider", "threads"), logger_manager.get_metrics()

    def talk() -> None:
        for number in range(100):
            logger.info("Said", context={"count": number})

    threads = [threading.Thread(target=talk) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = logger_manager.get_metrics()
    assert len(log.lines) == 800
    assert after["lines"]["info"] - before["lines"]["info"] == 800
    assert after["bytes"] - before["bytes"] == len(log.text)


def test_figures_tell_lines_by_level_what_was_kept_out_and_what_a_line_costs(log: CaughtLog) -> None:
    logger = CoreLogger("ai-provider")
    logger.info("Said", context={"provider": "sk-abcdefgh12345678"})
    logger.error("Said", context={"prompt": "a question"})
    told = logger.get_metrics()
    assert told["lines"] == {"debug": 0, "info": 1, "warning": 0, "error": 1, "critical": 0}
    assert (told["redacted"], told["withheld"], told["write_errors"], told["dropped"]) == (1, 1, 0, 0)
    assert told["bytes"] == len(log.text)
    assert told["mean_line_us"] > 0
    process = logger_manager.get_metrics()
    assert process["mean_line_us"] > 0
    assert (process["level"], process["format"], process["outputs"]) == ("info", "json", ["stream"])


class _Broken(io.StringIO):
    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_stream_that_breaks_breaks_nobody_and_is_counted() -> None:
    configure_logging("ai-provider", stream=_Broken())
    try:
        before = logger_manager.get_metrics()
        get_logger("ai-provider", "a").info("Said")
        after = logger_manager.get_metrics()
    finally:
        logger_manager.close()
    assert after["write_errors"] - before["write_errors"] == 1
    assert after["dropped"] - before["dropped"] == 1


def test_a_stream_that_cannot_take_all_of_unicode_gets_it_escaped() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    configure_logging("ai-provider", stream=stream)
    try:
        get_logger("ai-provider", "a").info("Größe")
    finally:
        logger_manager.close()
    assert b'"message": "Gr\\u00f6\\u00dfe"' in raw.getvalue()
