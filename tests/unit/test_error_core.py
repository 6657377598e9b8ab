"""What errors mean, what is told of them, and what follows them."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest

from infrastructure.core import error_core
from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import (
    Alert,
    ConfigError,
    ErrorClass,
    ErrorHandler,
    Fallback,
    GiveUp,
    InvalidKey,
    QueueFull,
    QueueTooSlow,
    Retry,
    ServiceError,
    Severity,
    StoreError,
    StoreFull,
    StoreUnavailable,
    TenantQueueFull,
    classify,
    get_error_handler,
    ids_only,
    job_error,
    problem,
)
from infrastructure.core.error_core.classification import place
from infrastructure.core.error_core.reporting import sentry_report
from infrastructure.core.performance_core.observing import _sentry, apply_settings
from workers.providers.calls import CompletionFailed

pytestmark = pytest.mark.anyio
PROMPT = "tell me the planted secret sk-live-0123456789abcdef"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def handler(clock: Clock) -> ErrorHandler:
    return ErrorHandler("test", clock=clock)


def raised(error: Exception) -> Exception:
    """Return an exception that has been somewhere."""
    try:
        raise error
    except Exception as exc:  # noqa: BLE001
        return exc


@pytest.mark.parametrize(
    ("error", "error_class", "code", "severity", "retryable"),
    [
        (InvalidKey("x"), ErrorClass.REQUEST, "invalid_api_key", Severity.INFO, False),
        (StoreUnavailable("x"), ErrorClass.STORE, "store_unavailable", Severity.WARNING, True),
        (StoreFull("x"), ErrorClass.STORE, "store_full", Severity.WARNING, True),
        (TenantQueueFull("x"), ErrorClass.REQUEST, "tenant_queue_full", Severity.INFO, True),
        (QueueFull("x"), ErrorClass.RESOURCE, "queue_full", Severity.WARNING, True),
        (QueueTooSlow("x"), ErrorClass.RESOURCE, "queue_too_slow", Severity.WARNING, True),
        (ConfigError(["x"]), ErrorClass.CONFIGURATION, "invalid_configuration", Severity.CRITICAL, False),
        (CompletionFailed("x", job_code="rate_limited"), ErrorClass.PROVIDER, "rate_limited", Severity.WARNING, True),
        (TimeoutError(), ErrorClass.TIMEOUT, "timeout", Severity.WARNING, True),
        (ConnectionResetError(), ErrorClass.NETWORK, "connection_lost", Severity.WARNING, True),
        (PermissionError(), ErrorClass.RESOURCE, "system_error", Severity.ERROR, False),
        (MemoryError(), ErrorClass.RESOURCE, "out_of_memory", Severity.CRITICAL, True),
        (asyncio.CancelledError(), ErrorClass.CANCELLED, "cancelled", Severity.INFO, True),
        (ValueError("x"), ErrorClass.INTERNAL, "internal_error", Severity.ERROR, False),
    ],
)
def test_every_error_has_a_class_a_code_and_a_severity(
    error: BaseException, error_class: ErrorClass, code: str, severity: Severity, *, retryable: bool
) -> None:
    meaning = classify(error)
    assert (meaning.error_class, meaning.code, meaning.severity) == (error_class, code, severity)
    assert meaning.retryable is retryable


def test_every_error_of_the_tree_is_importable_from_the_package_and_classified() -> None:
    tree: list[type[Any]] = [ServiceError]
    for kind in tree:
        tree += kind.__subclasses__()
    ours = [kind for kind in tree if kind.__module__ == "infrastructure.core.error_core.errors"]
    assert len(ours) >= 20
    for kind in ours:
        assert getattr(error_core, kind.__name__) is kind
        error = kind(["x"]) if kind is ConfigError else kind("x")
        assert classify(error).code == kind.code


def test_a_place_is_told_without_the_errors_text() -> None:
    at = place(raised(ValueError(PROMPT)))
    assert "test_error_core.py" in at
    assert at.endswith(" in raised")
    assert place(ValueError("never raised")) == ""


def test_counts_are_by_class_and_by_code(handler: ErrorHandler) -> None:
    for error in (StoreFull("x"), StoreUnavailable("x"), StoreUnavailable("x"), KeyError("x")):
        handler.handle(error)
    metrics = handler.get_metrics()
    assert metrics["by_class"] == {"store": 3, "internal": 1}
    assert metrics["by_code"] == {"store_full": 1, "store_unavailable": 2, "internal_error": 1}
    assert metrics["total"] == 4


def test_codes_that_never_end_are_counted_together(handler: ErrorHandler) -> None:
    for number in range(1_000):
        handler.handle(CompletionFailed("x", job_code=f"code_{number}"))
    codes = handler.get_metrics()["by_code"]
    assert len(codes) <= 201
    assert codes["other"] >= 799


def test_the_context_holds_ids_and_figures_only(handler: ErrorHandler) -> None:
    given = {
        "job_id": "job_1", "attempt": 2, "provider": "openai", "prompt": PROMPT, "model": PROMPT, "tenant": "sk-abc",
        "operation": "aip_0123", "owner": b"bytes", "route": "/api/v1/jobs/{job_id}", "request_id": "x" * 200, "unheard_of": "id_1",
    }  # fmt: skip
    expected = {"job_id": "job_1", "attempt": 2, "provider": "openai", "route": "/api/v1/jobs/{job_id}"}
    assert handler.handle(ValueError(PROMPT), given).context == expected
    assert ids_only(None) == {}


def test_ids_of_the_request_or_job_at_hand_are_in_the_context_by_themselves(handler: ErrorHandler) -> None:
    from structlog.contextvars import bound_contextvars

    with bound_contextvars(request_id="req_1", tenant="team"):
        assert handler.handle(ValueError()).context == {"request_id": "req_1", "tenant": "team"}


def test_the_nearest_class_decides_what_follows(handler: ErrorHandler) -> None:
    retry, fallback = Retry(after_s=1), Fallback(lambda _: 0)
    handler.register(StoreError, retry)
    handler.register(StoreFull, fallback)
    assert handler.handle(StoreUnavailable("x")).recovery is retry
    assert handler.handle(StoreFull("x")).recovery is fallback
    assert handler.handle(ValueError("x")).recovery == GiveUp()


def test_a_retry_waits_longer_each_time_up_to_its_most() -> None:
    retry = Retry(after_s=1, factor=2, most_s=5)
    assert [retry.pause_s(ValueError(), attempt=number) for number in (1, 2, 3, 4, 10_000)] == [1, 2, 4, 5, 5]
    assert retry.pause_s(StoreUnavailable("x", retry_after_s=3), attempt=1) == 3
    assert retry.pause_s(StoreUnavailable("x", retry_after_s=99), attempt=1) == 5


async def test_recovering_runs_the_work_again_until_it_works(handler: ErrorHandler) -> None:
    handler.register(StoreError, Retry(after_s=0))
    failures = [StoreUnavailable("x"), StoreFull("x")]

    async def work() -> str:
        if failures:
            raise failures.pop()
        return "done"

    assert await handler.recovering(work, within_s=10) == "done"
    metrics = handler.get_metrics()
    assert (metrics["retried"], metrics["recovered"], metrics["given_up"]) == (2, 1, 0)


async def test_recovering_goes_on_with_the_fallback(handler: ErrorHandler) -> None:
    handler.register(StoreError, Fallback(lambda exc: type(exc).__name__))

    async def work() -> str:
        raise StoreFull("x")

    assert await handler.recovering(work, within_s=10) == "StoreFull"
    assert handler.get_metrics()["fell_back"] == 1


@pytest.mark.parametrize(("attempts", "within_s"), [(3, 100.0), (None, 2.5)])
async def test_recovering_gives_up_after_its_attempts_or_its_time(
    handler: ErrorHandler, clock: Clock, attempts: int | None, within_s: float
) -> None:
    handler.register(StoreError, Retry(after_s=0, attempts=attempts))
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        clock.now += 1
        raise StoreUnavailable("x")

    with pytest.raises(StoreUnavailable):
        await handler.recovering(work, within_s=within_s)
    assert runs == 3
    assert handler.get_metrics()["given_up"] == 1


async def test_recovering_lets_out_what_nothing_is_registered_for_and_a_cancel(handler: ErrorHandler) -> None:
    async def broken() -> None:
        raise ValueError

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(ValueError):  # noqa: PT011
        await handler.recovering(broken, within_s=10)
    with pytest.raises(asyncio.CancelledError):
        await handler.recovering(cancelled, within_s=10)
    assert handler.get_metrics()["by_class"] == {"internal": 1}


def test_an_alert_is_told_once_a_window(handler: ErrorHandler, clock: Clock) -> None:
    told: list[Alert] = []
    handler.on_alert(told.append)
    handler.alert_above(5, window_s=60)
    for _ in range(4):
        handler.handle(StoreUnavailable("x"))
    assert told == []
    for _ in range(100):
        handler.handle(StoreUnavailable("x"))
    (alert,) = told
    expected = Alert(service="test", error_class="store", code="store_unavailable", count=5, window_ms=60_000)
    assert alert == expected
    clock.now += 60
    for _ in range(5):
        handler.handle(StoreUnavailable("x"))
    assert len(told) == 2


def test_errors_that_come_slowly_or_are_the_callers_own_alert_nobody(handler: ErrorHandler, clock: Clock) -> None:
    told: list[Alert] = []
    handler.on_alert(told.append)
    handler.alert_above(2, window_s=10)
    for _ in range(5):
        handler.handle(StoreUnavailable("x"))
        clock.now += 10
    for _ in range(100):
        handler.handle(InvalidKey("x"))
    assert told == []


def test_the_log_is_told_of_an_alert_from_the_start(handler: ErrorHandler) -> None:
    from structlog.testing import capture_logs

    assert error_core.log_alert in handler._hooks
    with capture_logs():
        error_core.log_alert(Alert(service="t", error_class="store", code="c", count=1, window_ms=1))


def test_a_hook_that_fails_hurts_neither_the_others_nor_the_work(handler: ErrorHandler) -> None:
    told: list[Any] = []

    def broken(*_: object) -> None:
        raise RuntimeError

    handler.on_alert(broken)
    handler.on_alert(told.append)
    handler.report_to(broken)
    handler.alert_above(1, window_s=60)
    assert handler.handle(ValueError("x")).classification.code == "internal_error"
    assert len(told) == 1
    assert handler.get_metrics()["hooks_failed"] == 2


def test_one_handler_for_each_service_of_a_process() -> None:
    assert get_error_handler("service-a") is get_error_handler("service-a")
    assert get_error_handler("service-a") is not get_error_handler("service-b")
    assert get_error_handler("service-a").service_name == "service-a"


def test_a_problem_says_nothing_of_a_defects_inside() -> None:
    body = problem(ValueError(PROMPT), request_id="req_1")
    assert "planted" not in str(body)
    assert (body["status"], body["code"]) == (500, "internal_error")
    assert body["instance"].endswith("req_1")
    known = problem(InvalidKey("the key is not valid"), request_id="req_1")
    assert (known["status"], known["detail"]) == (401, "the key is not valid")


def test_a_jobs_error_is_its_code_and_message_and_of_a_defect_neither() -> None:
    assert job_error(CompletionFailed("slow down", job_code="rate_limited")) == ("rate_limited", "slow down")
    assert job_error(StoreFull("no room")) == ("store_full", "no room")
    code, message = job_error(ValueError(PROMPT))
    assert code == "internal_error"
    assert "planted" not in message


class FakeSentry(types.ModuleType):
    """Stands in for `sentry_sdk`, which is an extra: records what a client is made with and given."""

    def __init__(self) -> None:
        super().__init__("sentry_sdk")
        self.__spec__ = types.SimpleNamespace(name="sentry_sdk")  # type: ignore[assignment]
        self.options: dict[str, Any] = {}
        self.events: list[dict[str, Any]] = []

    def Client(self, **options: Any) -> FakeSentry:  # noqa: N802  the SDK's name
        self.options = options
        return self

    def capture_event(self, event: dict[str, Any]) -> None:
        self.events.append(event)


@pytest.fixture
def sentry(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSentry]:
    fake = FakeSentry()
    monkeypatch.setitem(sys.modules, "sentry_sdk", fake)
    _sentry.cache_clear()
    yield fake
    _sentry.cache_clear()


def test_sentry_is_sent_the_class_the_place_and_ids_but_no_text(handler: ErrorHandler, sentry: FakeSentry) -> None:
    report = sentry_report("https://key@sentry.test/1", environment="test")
    assert report is not None
    handler.report_to(report)
    handler.handle(raised(ValueError(PROMPT)), {"job_id": "job_1", "prompt": PROMPT})
    handler.handle(StoreUnavailable("a warning is no report"))
    (event,) = sentry.events
    assert event["tags"] == {"error_class": "internal", "code": "internal_error"}
    assert event["extra"]["job_id"] == "job_1"
    assert "test_error_core.py" in event["extra"]["at"]
    assert "planted" not in str(event)
    assert sentry.options["include_local_variables"] is False
    assert sentry.options["default_integrations"] is False


def test_without_the_sdk_nothing_is_imported_and_nothing_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert sentry_report("https://key@sentry.test/1", environment="test") is None
    assert "sentry_sdk" not in sys.modules


def settings_with(**errors: Any) -> Settings:
    """Return settings of a service of its own, with these thresholds of errors."""
    return Settings.model_validate({"service": {"name": "observed"}, "errors": errors})


def test_the_settings_say_when_errors_alert_and_where_they_are_reported(sentry: FakeSentry) -> None:
    told: list[Alert] = []
    observed = get_error_handler("observed")
    observed.on_alert(told.append)
    apply_settings(settings_with(alert_count=2, alert_window_s=60, sentry_dsn="https://key@sentry.test/1"))
    for _ in range(2):
        observed.handle(ValueError(PROMPT))
    assert [alert.count for alert in told] == [2]
    assert len(sentry.events) == 2
    apply_settings(settings_with(alert_count=1_000))
    observed.handle(ValueError(PROMPT))
    assert len(sentry.events) == 2


def test_a_dsn_that_is_none_stops_nothing_and_is_not_repeated(
    sentry: FakeSentry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(**options: Any) -> None:
        raise ValueError(options["dsn"])

    monkeypatch.setattr(sentry, "Client", refuse)
    apply_settings(settings_with(sentry_dsn="planted-nonsense"))
    assert get_error_handler("observed").handle(ValueError("x")).classification.code == "internal_error"
    assert "planted" not in "".join(capsys.readouterr())


def test_the_guides_example_of_error_handling_runs() -> None:
    error_handler = get_error_handler("ai-provider-of-the-guide")
    assert error_handler.handle(StoreFull("x"), {"job_id": "job_1"}).context["job_id"] == "job_1"


@pytest.mark.parametrize(("kind", "recovery"), [(StoreError, Retry), (StoreError, None), ("StoreError", GiveUp())])
def test_what_is_no_recovery_is_refused_at_once(kind: Any, recovery: Any) -> None:
    with pytest.raises(TypeError, match="expected a"):
        ErrorHandler("test").register(kind, recovery)
