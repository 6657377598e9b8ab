"""Twenty-five secrets and twenty-five prompts, planted in every way into the log: none of them comes out."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import pytest

from infrastructure.core.config_core import load
from infrastructure.core.logger_core import CoreLogger, bound_contextvars, get_logger
from infrastructure.core.logger_core.context_keys import KNOWN
from infrastructure.core.logger_core.libraries import LibraryHandler
from infrastructure.core.logger_core.wiring import secrets_in
from tests.support.logs import CaughtLog, caught_log
from tests.support.planted import PLANTS, SECRETS, configured, found_in

LIBRARIES = (
    "root",
    "litellm.main",
    "httpx.client",
    "celery.worker",
    "kombu.connection",
    "uvicorn.error",
    "tornado.access",
)


class _Failed(Exception):
    """Fails with a plant in its text, its arguments, its notes and its cause."""

    def __init__(self, plant: str) -> None:
        super().__init__(plant, {"messages": plant})
        self.add_note(plant)


def _raised(plant: str) -> BaseException:
    def deep(text: str) -> None:
        try:
            raise _Failed(text)
        except _Failed as exc:
            raise RuntimeError(text) from exc

    try:
        deep(plant)
    except RuntimeError as exc:
        return exc
    raise AssertionError


class _Shown:
    """Tells its plant to whoever asks for its text."""

    def __init__(self, plant: str) -> None:
        self.plant = plant

    def __str__(self) -> str:
        return self.plant

    __repr__ = __str__


def _our_message(log: CoreLogger, plant: str) -> None:
    log.info(plant)
    log.error(f"Failed on {plant}")  # noqa: G004  as somebody might
    log.log_business_event(plant, {})
    log.log_request(plant, plant, 200, 1.0, plant)
    log.log_request("GET", f"/api/v1/jobs?ask={plant}", 200, 1.0)


def _our_context(log: CoreLogger, plant: str) -> None:
    for key in ("provider", "model", "reason", "path", "at", "performance_improvement", "duration_ms"):
        log.info("Said", context={key: plant})
        log.info("Said", context={key: [plant, (plant,), {plant: plant}]})
        log.info("Said", context={key: {plant: plant, "openai": plant}})
    log.info("Said", context={"prompt": plant, "api_key": plant, "messages": [plant], "headers": {plant: plant}})
    log.info("Said", context={plant: 1})
    log.info("Said", context={"provider": _Shown(plant), "value": _Shown(plant), "reason": plant.encode()})


def _our_exception(log: CoreLogger, plant: str) -> None:
    log.error("Broke", exc=_raised(plant))
    log.critical("Broke", context={"error": _raised(plant), "reason": _raised(plant)})


def _our_bound(log: CoreLogger, plant: str) -> None:
    with bound_contextvars(provider=plant, prompt=plant):
        log.info("Said")
        logging.getLogger("httpx.client").warning("Said")
    log.add_context("model", plant)
    log.info("Said")
    log.context.clear()


def _library_message(_: CoreLogger, plant: str) -> None:
    for name in LIBRARIES:
        library = logging.getLogger(name)
        library.warning(plant)
        library.error(f"failed on {plant}")
        library.error("failed on " + plant, 1)
        library.error(_raised(plant))
        library.warning("said", extra={"data": plant, "prompt": plant})


def _library_arguments(_: CoreLogger, plant: str) -> None:
    for name in ("root", "litellm.main", "httpx.client", "tornado.access"):
        library = logging.getLogger(name)
        library.warning("said %s and %r", plant, [plant])
        library.warning("said %(name)s", {"name": plant, "other": plant})
        library.warning("said %d %s", plant, _Shown(plant))
        library.warning("said %s", _raised(plant))
        library.warning("too many", plant)
    for name in ("celery.app.trace", "kombu.connection", "uvicorn.error"):
        logging.getLogger(name).error("said %s %r", _Shown(plant), _raised(plant))


def _library_exception(_: CoreLogger, plant: str) -> None:
    exc = _raised(plant)
    for name in LIBRARIES:
        logging.getLogger(name).error("It broke", exc_info=exc)
        logging.getLogger(name).error("It broke %s", plant if name == "root" else 1, exc_info=exc, stack_info=True)


def _warning(_: CoreLogger, plant: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn(plant, stacklevel=1)
        warnings.warn_explicit(plant, DeprecationWarning, "module.py", 1)


def _uncaught(_: CoreLogger, plant: str) -> None:
    exc = _raised(plant)
    sys.excepthook(type(exc), exc, exc.__traceback__)
    thread = threading.Thread(target=lambda: _reraise(exc))
    thread.start()
    thread.join()


def _unraisable(_: CoreLogger, plant: str) -> None:
    class Dies:
        def __del__(self) -> None:
            raise RuntimeError(plant)

    Dies()


def _asyncio_handler(_: CoreLogger, plant: str) -> None:
    async def never_awaited() -> None:
        raise RuntimeError(plant)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(never_awaited(), name="planted")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        loop.call_soon(lambda: _reraise(_raised(plant)))
        loop.call_exception_handler({"message": plant, "exception": _raised(plant), "prompt": plant})
        await asyncio.sleep(0)

    asyncio.run(main())


def _uvicorn(_: CoreLogger, plant: str) -> None:
    """Let an application of uvicorn's break, as its protocol calls it."""
    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    async def broken(*_: Any) -> None:
        raise RuntimeError(plant)

    cycle = RequestResponseCycle.__new__(RequestResponseCycle)
    cycle.scope, cycle.disconnected = {}, True  # type: ignore[typeddict-item]
    cycle.response_started = cycle.response_complete = False
    cycle.logger = logging.getLogger("uvicorn.error")
    cycle.on_response = lambda: None
    cycle.transport = _Transport()  # type: ignore[assignment]

    async def no_answer() -> None:
        """Write nothing."""

    cycle.send_500_response = no_answer  # type: ignore[method-assign]
    asyncio.run(cycle.run_asgi(broken))


class _Transport:
    def close(self) -> None:
        """Close nothing."""


def _celery_failure(_: CoreLogger, plant: str) -> None:
    """Let a task fail under Celery's own tracer, with the plant in its arguments and its exception."""
    from celery import Celery
    from celery.app.trace import build_tracer

    app = Celery("planted", set_as_current=False, backend="disabled://")

    @app.task(name="completion", shared=False)
    def completion(*_: Any, **__: Any) -> None:
        raise RuntimeError(plant)

    request = {"id": "task-1", "argsrepr": plant, "kwargsrepr": plant, "hostname": "worker@host", "delivery_info": {}}
    build_tracer("completion", app.tasks["completion"], app=app)("task-1", [plant], {"prompt": plant}, request)


def _reraise(exc: BaseException) -> None:
    raise exc


WAYS: dict[str, Callable[[CoreLogger, str], None]] = {
    "our message": _our_message,
    "our context": _our_context,
    "our exception": _our_exception,
    "bound and added context": _our_bound,
    "a library's message": _library_message,
    "a library's arguments": _library_arguments,
    "a library's exception": _library_exception,
    "a warning": _warning,
    "nobody's exception": _uncaught,
    "an exception in a finalizer": _unraisable,
    "asyncio's exception handler": _asyncio_handler,
    "an application of uvicorn's": _uvicorn,
    "a task of Celery's": _celery_failure,
}


@pytest.fixture(params=["json", "console"])
def log(request: pytest.FixtureRequest) -> Iterator[CaughtLog]:
    with caught_log(output_format=request.param, whole_process=True, level="debug") as log:
        yield log


@pytest.mark.parametrize("way", WAYS)
def test_nothing_that_is_planted_comes_out(
    log: CaughtLog, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    root = logging.getLogger()
    ours = [handler for handler in root.handlers if isinstance(handler, LibraryHandler)]
    monkeypatch.setattr(root, "handlers", ours)  # pytest's own would print what it hears
    logger = get_logger("ai-provider", "planted")
    for plant in PLANTS:
        before = len(log.text)
        WAYS[way](logger, plant)
        assert len(log.text) > before, "the line itself must come out"
        said = log.text[before:]
        assert not found_in(said), said[:2_000]
    printed = capfd.readouterr()
    assert not found_in(printed.out + printed.err)


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_under_any_key_is_kept_out(log: CaughtLog, secret: str) -> None:
    for key in KNOWN:
        get_logger("ai-provider", "planted").info("Said", context={key: secret})
    assert not found_in(log.text)


def test_a_secret_of_the_configuration_is_kept_out_whatever_it_looks_like() -> None:
    with caught_log(secrets=["plainwordsecret"]) as log:
        get_logger("ai-provider", "planted").info(
            "Said", context={"job_id": "plainwordsecret", "provider": "xplainwordsecret"}
        )
    assert log.line["context"] == {"job_id": "[redacted]", "provider": "[redacted]"}


def test_the_credentials_of_every_url_of_a_configuration_are_kept_out_and_open_urls_are_not() -> None:
    variables = {
        "REDIS_URL": "redis://:p%40ssword-one@127.0.0.1:6379/0",
        "AI_PROVIDER_CACHE_REDIS_URL": "redis://127.0.0.1:6379/1",
        "OPENAI_API_KEY": "plainwordsecret",
        "OPENAI_BASE_URL": "http://someone:password-two@127.0.0.1/v1?key=password-three",
    }
    found = set(secrets_in(load(variables).settings))
    assert found >= {"p%40ssword-one", "p@ssword-one", "plainwordsecret", "password-two", "password-three"}
    assert "redis://127.0.0.1:6379/1" not in found
    assert "someone" not in found


def test_the_search_finds_every_plant() -> None:
    assert all(found_in(plant) and found_in(quote(plant)) and found_in(json.dumps(plant)) for plant in PLANTS)
    assert all(found_in(secret) for secret in configured("/r.sock", "http://s").variables.values() if "qzx" in secret)
    assert (len(SECRETS), len(PLANTS)) == (25, 50)
