"""The classifier's rules, one by one, on exceptions of the same shape as LiteLLM's."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from workers.jobs.gate.models import Verdict
from workers.providers.classify import Action, Kind, classify
from workers.providers.rates import retry_after_s

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def failure(name: str, *, status: int | None = None, text: str = "", parent: type[Exception] = Exception) -> Kind:
    """Classify an exception of a class with this name."""
    error = type(name, (parent,), {})(text)
    error.status_code = status
    return classify(error, now=NOW).kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Kind.UNAVAILABLE), (302, Kind.UNAVAILABLE), (400, Kind.INVALID_REQUEST), (401, Kind.AUTHENTICATION),
        (402, Kind.QUOTA), (403, Kind.PERMISSION), (404, Kind.MODEL_UNAVAILABLE), (408, Kind.TIMEOUT),
        (409, Kind.UNAVAILABLE), (413, Kind.INVALID_REQUEST), (418, Kind.INVALID_REQUEST),
        (422, Kind.INVALID_REQUEST), (429, Kind.RATE_LIMITED), (500, Kind.UNAVAILABLE), (502, Kind.UNAVAILABLE),
        (503, Kind.UNAVAILABLE), (504, Kind.TIMEOUT), (529, Kind.UNAVAILABLE), (None, Kind.UNAVAILABLE),
    ],
)  # fmt: skip
def test_a_status_alone_decides(status: int | None, kind: Kind) -> None:
    assert failure("APIError", status=status) is kind


def test_the_status_counts_more_than_a_class_that_litellm_chose_too_widely() -> None:
    assert failure("BadRequestError", status=403) is Kind.PERMISSION
    assert failure("BadRequestError", status=409) is Kind.UNAVAILABLE


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("ContextWindowExceededError", Kind.CONTEXT_WINDOW), ("ContentPolicyViolationError", Kind.CONTENT_POLICY),
        ("UnsupportedParamsError", Kind.UNSUPPORTED_PARAMETER), ("APIResponseValidationError", Kind.BAD_ANSWER),
        ("JSONSchemaValidationError", Kind.BAD_ANSWER),
    ],
)  # fmt: skip
def test_a_class_that_says_more_than_its_400_decides(name: str, kind: Kind) -> None:
    assert failure(name, status=400) is kind


def test_a_subclass_is_what_its_parent_is() -> None:
    parent = type("APITimeoutError", (Exception,), {})
    assert failure("Timeout", status=500, parent=parent) is Kind.TIMEOUT
    assert classify(TimeoutError(), now=NOW).kind is Kind.TIMEOUT


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (400, "Your credit balance is too low to access the API."),
        (403, "Insufficient balance"),
        (400, "Billing hard limit has been reached"),
        (429, '{"error": {"code": "insufficient_quota"}}'),
    ],
)
def test_a_text_that_speaks_of_an_empty_account_means_no_money(status: int, text: str) -> None:
    assert failure("BadRequestError", status=status, text=text) is Kind.QUOTA


def test_a_rate_limit_that_speaks_of_quota_and_billing_is_still_a_rate_limit() -> None:
    text = "You exceeded your current quota, please check your plan and billing details."
    assert failure("RateLimitError", status=429, text=text) is Kind.RATE_LIMITED


def test_a_prompt_about_credit_cards_in_an_error_text_is_not_an_empty_account() -> None:
    text = "messages.0.content: 'how do I pay my credit card bill?' is too long"
    assert failure("BadRequestError", status=400, text=text) is Kind.INVALID_REQUEST


def test_every_kind_has_an_action_and_only_a_callers_own_faults_end_a_job_at_once() -> None:
    assert {kind for kind in Kind if kind.action is Action.FAIL} == {Kind.INVALID_REQUEST, Kind.CONTENT_POLICY}


def test_what_a_provider_may_charge_for_is_not_called_free() -> None:
    assert {kind for kind in Kind if kind.may_be_billed} == {Kind.TIMEOUT, Kind.UNAVAILABLE, Kind.BAD_ANSWER}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("7", 7), ("60", 60), ("61", 61), ("1.5", 1.5), (" 7 ", 7), ("-5", 0), ("1000000000", 3_600),
        ("Sun, 01 Mar 2026 12:00:20 GMT", 20), ("Sun, 01 Mar 2026 11:00:00 GMT", 0),
        ("Sun, 01 Mar 2026 12:00:20", 20), ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600),
    ],
)  # fmt: skip
def test_retry_after_is_read_in_all_its_forms_and_bounded(text: str, seconds: float) -> None:
    assert retry_after_s({"retry-after": text}, now=NOW) == seconds


@pytest.mark.parametrize("text", ["soon, perhaps", "", "nan", "inf", "1e9", "9" * 400, "0x10", "Sun, 99 Foo 2026"])
def test_a_retry_after_of_garbage_is_none(text: str) -> None:
    assert retry_after_s({"retry-after": text}, now=NOW) is None


def test_retry_after_is_found_where_litellm_leaves_it() -> None:
    error = type("RateLimitError", (Exception,), {"status_code": 429})("slow down")
    error.litellm_response_headers = {"Retry-After": "9"}
    assert classify(error, now=NOW).retry_after_s == 9
    bare = type("RateLimitError", (Exception,), {"status_code": 429})("slow down")
    bare.response = type("Response", (), {"headers": {"retry-after": "8"}})()
    assert classify(bare, now=NOW).retry_after_s == 8


def test_headers_that_were_heard_count_more_than_what_litellm_kept() -> None:
    error = type("RateLimitError", (Exception,), {"status_code": 429})("slow down")
    error.litellm_response_headers = {"Retry-After": "9"}
    assert classify(error, now=NOW, headers={"retry-after": "3"}).retry_after_s == 3


VERDICTS = {
    Verdict.ACCOUNT: {Kind.AUTHENTICATION, Kind.QUOTA},
    Verdict.MODEL: {Kind.PERMISSION, Kind.MODEL_UNAVAILABLE},
    Verdict.THROTTLED: {Kind.RATE_LIMITED},
    Verdict.FAILED: {Kind.TIMEOUT, Kind.UNAVAILABLE},
    Verdict.BAD: {Kind.BAD_ANSWER},
    Verdict.ALIVE: {Kind.INVALID_REQUEST, Kind.CONTEXT_WINDOW, Kind.CONTENT_POLICY},
    Verdict.STOPPED: {Kind.UNSUPPORTED_PARAMETER},
}


def test_every_kind_says_of_its_provider_what_the_table_says() -> None:
    assert {verdict: {kind for kind in Kind if kind.verdict is verdict} for verdict in VERDICTS} == VERDICTS


@pytest.mark.parametrize("name", ["APIResponseValidationError", "JSONSchemaValidationError"])
def test_an_answer_that_breaks_the_callers_schema_is_not_the_providers_fault(name: str) -> None:
    failed = classify(type(name, (Exception,), {})(""), now=NOW)
    assert (failed.kind, failed.verdict) == (Kind.BAD_ANSWER, Verdict.ALIVE)
