"""Whatever is handed to the log, whenever and by whom: it raises nothing, and the line comes as far as it can be told."""

from __future__ import annotations

import asyncio
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest

from infrastructure.core.logger_core import CoreLogger, get_logger
from tests.support.logs import CaughtLog, caught_log


@pytest.fixture
def log() -> Iterator[CaughtLog]:
    with caught_log() as log:
        yield log


class _Hostile(dict[str, object]):
    def items(self):  # type: ignore[no-untyped-def]  # noqa: ANN202
        raise RuntimeError("a prompt")


class _Lying:
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("a prompt")


class _Unspeakable(Exception):
    def __bool__(self) -> bool:
        raise RuntimeError("a prompt")

    def __str__(self) -> str:
        raise RuntimeError("a prompt")

    __repr__ = __str__


@pytest.mark.parametrize("context", [_Hostile(count=1), "a prompt", ["a prompt"], 7])
def test_of_a_context_that_is_none_the_line_comes_without_it(log: CaughtLog, context: Any) -> None:
    logger = CoreLogger("ai-provider")
    logger.info("Said", context=context)
    logger.error("Said", context=context, exc=ValueError("a prompt"))
    assert [line["message"] for line in log.lines] == ["Said", "Said"]
    assert log.lines[1]["context"] == {"error_type": "ValueError", "at": ""}
    assert (logger.get_metrics()["write_errors"], logger.get_metrics()["withheld"]) == (0, 2)


@pytest.mark.parametrize("value", [b"a prompt", float("nan"), 2**70, object, "a\ud800", _Lying, _Unspeakable])
def test_a_value_that_breaks_or_is_no_json_costs_neither_the_line_nor_the_rest(log: CaughtLog, value: Any) -> None:
    value = value() if isinstance(value, type) else value  # pytest itself cannot bear some of them
    CoreLogger("ai-provider").info("Said", context={"value": value, "count": 1})
    assert log.line["context"].pop("value") in {None, "[withheld]", "_Unspeakable"}
    assert log.line["context"]["count"] == 1


def test_a_context_that_holds_itself_ends(log: CaughtLog) -> None:
    table: dict[str, Any] = {"count": 1}
    table["value"] = table
    rows: list[Any] = [1]
    rows.append(rows)
    CoreLogger("ai-provider").info("Said", context={**table, "providers": rows})
    assert log.line["context"] == {"count": 1, "value": {"count": 1}, "providers": [1]}


def test_what_is_called_wrongly_is_told_as_far_as_it_goes(log: CaughtLog) -> None:
    logger, nothing = CoreLogger("ai-provider"), cast("Any", None)
    logger.log(nothing, "Said")
    logger.log(cast("Any", "loud"), "Said")
    logger.log_request("GET", nothing, 200, 1.0)
    logger.log_business_event("ai_completion_success", nothing)
    logger.log_business_event(cast("Any", ["a prompt"]), {"count": 1})
    assert [line["level"] for line in log.lines] == ["WARNING", *["INFO"] * 5]
    assert "a prompt" not in log.text


def test_an_exception_that_cannot_be_looked_at_is_told_by_its_type_and_so_are_those_of_a_group(log: CaughtLog) -> None:
    broken = ValueError()
    broken.__cause__ = _Unspeakable()
    logger = CoreLogger("ai-provider")
    logger.error("Said", exc=broken)
    logger.error("Said", exc=ExceptionGroup("a prompt", [KeyError("a prompt"), broken]))
    assert [line["context"]["causes"] for line in log.lines] == [["_Unspeakable"], ["KeyError", "ValueError"]]


def test_a_text_with_half_a_character_comes_out(log: CaughtLog) -> None:
    CoreLogger("ai-provider").info("Half \ud800 of it")
    assert log.line["message"] == "Half   of it"


def test_the_function_is_the_callers_through_wrappers_threads_coroutines_and_comprehensions(log: CaughtLog) -> None:
    logger = get_logger("ai-provider", "a")

    def wrapped() -> None:
        logger.info("Said")

    async def coroutine() -> None:
        await asyncio.to_thread(wrapped)
        say: Any = logger.info
        [say("Said", context={"count": number}) for number in range(2)]
        list(say("Said") for _ in range(1))  # noqa: C400  a generator has a frame of its own

    asyncio.run(functools.wraps(wrapped)(coroutine)())
    assert [line["function"] for line in log.lines] == ["wrapped", "coroutine", "coroutine", "coroutine"]


def test_lines_at_the_very_end_of_a_process_come_out_and_say_no_more_than_others() -> None:
    ended = subprocess.run([sys.executable, "-c", DYING], capture_output=True, text=True, check=True)
    lines = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {line["function"] for line in lines} >= {"<module>", "__del__"}
    assert "a prompt" not in ended.stdout + ended.stderr
    # 120 is Python's own word for a standard output that it could not flush as it ended.
    for closing, statuses in ((">&-", {0}), ("| true", {0}), (">/dev/full", {0, 120})):
        shell = f'"{sys.executable}" -c "$1" {closing}'
        quiet = subprocess.run(["bash", "-c", shell, "-", DYING], capture_output=True, text=True, check=False)
        assert quiet.returncode in statuses, closing
        assert quiet.stdout == ""
        assert "a prompt" not in quiet.stderr


DYING = """
import builtins
from infrastructure.core.logger_core import configure_logging, get_logger
log = get_logger("ai-provider", "dying")
log.info("While it is imported")
configure_logging("ai-provider", whole_process=True)
class Dies:
    def __del__(self):
        log.info("Said", exc=ValueError("a prompt"))
        raise RuntimeError("a prompt")
here, builtins.there = Dies(), Dies()
log.info("Said")
"""
