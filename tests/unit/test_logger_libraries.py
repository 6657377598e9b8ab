"""Libraries' lines in our form: their own words and figures, and of everything else no more than its kind."""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Iterator

import pytest
from celery.worker.consumer import consumer as celery_consumer

from infrastructure.base.base_logger import LogLevel
from infrastructure.core.logger_core import bound_contextvars, logger_manager
from infrastructure.core.logger_core.libraries import level_of
from tests.support.logs import CaughtLog, caught_log


@pytest.fixture
def log() -> Iterator[CaughtLog]:
    with caught_log(whole_process=True) as log:
        yield log


def test_a_librarys_line_has_the_same_form_and_no_exception_text(log: CaughtLog) -> None:
    try:
        raise ValueError("a prompt is quoted here")
    except ValueError:
        logging.getLogger("some.library").exception("It broke")
    assert (log.line["module"], log.line["message"], log.line["level"]) == ("some.library", "It broke", "ERROR")
    assert log.line["function"] == "test_a_librarys_line_has_the_same_form_and_no_exception_text"
    assert log.line["context"]["error_type"] == "ValueError"
    assert "prompt" not in log.text


def test_its_words_and_figures_stay_and_texts_do_not(log: CaughtLog) -> None:
    logging.getLogger("some.library").warning("%d of %s tries took %.1f s", 2, "a prompt", 0.25)
    assert log.line["message"] == "2 of [withheld] tries took 0.2 s"


def test_what_is_kept_out_of_its_lines_is_counted(log: CaughtLog) -> None:
    before = logger_manager.get_metrics()
    logging.getLogger("some.library").warning("%s and %s", "a prompt", "another")
    after = logger_manager.get_metrics()
    assert after["withheld"] - before["withheld"] == 2


def test_a_message_made_at_run_time_is_told_by_its_length(log: CaughtLog) -> None:
    logging.getLogger("some.library").warning(f"it was {log}"[:6] + " a prompt")  # noqa: G003
    assert log.line["message"] == "[withheld: 15 characters]"


def test_a_message_with_the_wrong_arguments_is_told_without_them(
    log: CaughtLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)  # pytest's own handler cannot bear it
    logging.getLogger("some.library").warning("%d tries", "a prompt")
    assert log.line["message"] == "%d tries"


def test_celerys_names_and_addresses_stay(log: CaughtLog) -> None:
    text = vars(celery_consumer)["CONNECTION_ERROR"]
    exec(
        "logger.error(text, 'redis://localhost:6379//', OSError('gone'), 'later')",
        vars(celery_consumer) | {"text": text},
    )
    assert "redis://localhost:6379//" in log.text
    assert "gone" not in log.text


def test_ids_stand_in_a_librarys_line_too(log: CaughtLog) -> None:
    with bound_contextvars(job_id="job_1"):
        logging.getLogger("some.library").warning("Slow")
    assert log.line["context"] == {"job_id": "job_1"}


def test_the_level_of_the_process_is_theirs(log: CaughtLog) -> None:
    logging.getLogger("some.library").debug("Unheard")
    logging.getLogger("httpx").info("Unheard, since it would print requests")
    assert log.text == ""


def test_libraries_with_a_level_of_their_own_are_unheard_too_below_the_processs(log: CaughtLog) -> None:
    own = logging.getLogger("some.library.with.a.level")
    own.setLevel(logging.DEBUG)
    logger_manager.set_log_level("error")
    own.warning("Unheard")
    logging.getLogger("httpx").warning("Unheard")
    logger_manager.set_log_level("warning")
    own.warning("Heard")
    own.setLevel(logging.NOTSET)
    assert log.line["message"] == "Heard"


def test_a_logger_that_is_named_after_something_said_is_not_told(
    log: CaughtLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A test before this one may have loaded LiteLLM, and with it switched its loggers off.
    monkeypatch.setattr(logging.getLogger("LiteLLM Router"), "disabled", False)
    for name in ("a prompt of somebody's", "sk-abcdEFGH1234ijklMNOP5678", "some.library", "LiteLLM Router"):
        logging.getLogger(name).warning("Said")
    assert [line["module"] for line in log.lines] == ["[withheld]", "[redacted]", "some.library", "LiteLLM Router"]


@pytest.mark.parametrize(
    ("number", "level"), [(5, "debug"), (10, "debug"), (25, "info"), (30, "warning"), (99, "critical")]
)
def test_a_level_that_a_library_invents_counts_as_the_next_lower_one(number: int, level: str) -> None:
    assert level_of(number) is LogLevel(level)


def test_what_asyncio_says_of_a_lost_task_is_told_by_its_beginning(log: CaughtLog) -> None:
    async def fails() -> None:
        raise RuntimeError("a prompt")

    async def main() -> None:
        task = asyncio.create_task(fails())
        await asyncio.wait([task])
        del task

    asyncio.run(main())
    assert log.line["message"] == "Task exception was never retrieved"
    assert log.line["context"]["at"].endswith("in fails")


def test_a_warning_is_told_by_its_kind_and_place(log: CaughtLog) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a prompt", UserWarning, stacklevel=1)
    assert log.line["message"] == "Library warned"
    assert log.line["context"]["warning"] == "UserWarning"
    assert log.line["context"]["at"].startswith("unit/test_logger_libraries.py:")


def test_an_exceptions_way_and_causes_are_told_as_places_and_types(log: CaughtLog) -> None:
    def inner() -> None:
        raise KeyError("a prompt")

    try:
        try:
            inner()
        except KeyError as exc:
            raise RuntimeError("a prompt") from exc
    except RuntimeError:
        logging.getLogger("some.library").exception("It broke")
    assert log.line["context"]["error_type"] == "RuntimeError"
    assert log.line["context"]["causes"] == ["KeyError"]


def test_handlers_that_libraries_brought_are_taken_away_from_a_whole_process() -> None:
    library = logging.getLogger("some.library.with.a.handler")
    library.addHandler(logging.StreamHandler())
    library.propagate = False
    with caught_log(whole_process=True) as log:
        library.warning("Said")
    assert log.line["message"] == "Said"
    assert library.handlers == []


def test_a_brokers_address_is_told_without_its_credentials_and_its_query(log: CaughtLog) -> None:
    text = vars(celery_consumer)["CONNECTION_ERROR"]
    for address in ("redis://:hunter2hunter2@h:6379/0?password=x", "redis+socket:///tmp/aip-redis-1abc/redis.sock?x=y"):
        exec(
            "logger.error(text, address, OSError('gone'), 'later')",
            vars(celery_consumer) | {"text": text, "address": address},
        )
    assert "redis://h:6379/0" in log.lines[0]["message"]
    assert "redis+socket:///tmp/aip-redis-1abc/redis.sock" in log.lines[1]["message"]
    assert "hunter2" not in log.text
    assert "password" not in log.text
