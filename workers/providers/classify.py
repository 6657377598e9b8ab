"""What a failed provider call means, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum

from workers.jobs.gate.models import Verdict
from workers.providers.rates import retry_after_s


class Action(Enum):
    """What follows a failure."""

    FAIL = "fail the job: another provider would say the same"
    NEXT = "the next candidate; never this one again"
    LARGER = "a candidate with a larger context window, else fail"
    WAIT = "the next candidate; if there is none, this one again after Retry-After"
    AGAIN = "the next candidate; if there is none, this one once more"
    ONCE = "the next candidate, but only one such hop in a job"


class Kind(StrEnum):
    """Classes of failure: the `outcome` of an attempt, and the stable `code` of a job that ends with it."""

    AUTHENTICATION = "provider_authentication"
    QUOTA = "provider_quota"
    PERMISSION = "provider_permission"
    MODEL_UNAVAILABLE = "model_unavailable"
    RATE_LIMITED = "rate_limited"
    TIMEOUT = "provider_timeout"
    UNAVAILABLE = "provider_unavailable"
    INVALID_REQUEST = "invalid_provider_request"
    CONTEXT_WINDOW = "context_window_exceeded"
    CONTENT_POLICY = "content_policy_violation"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    BAD_ANSWER = "bad_answer"

    @property
    def action(self) -> Action:
        """Return what follows this kind of failure."""
        return _ACTIONS[self]

    @property
    def may_be_billed(self) -> bool:
        """Say whether the provider may charge for the call, although it gave no usage."""
        return self in {Kind.TIMEOUT, Kind.UNAVAILABLE, Kind.BAD_ANSWER}

    @property
    def verdict(self) -> Verdict:
        """Return what this kind of failure says of the provider."""
        return _VERDICTS[self]

    @property
    def callers(self) -> bool:
        """Say whether the fault is the caller's, and any provider would say the same."""
        return self in {Kind.INVALID_REQUEST, Kind.CONTEXT_WINDOW, Kind.CONTENT_POLICY, Kind.UNSUPPORTED_PARAMETER}


_ACTIONS = {
    Kind.AUTHENTICATION: Action.NEXT,
    Kind.QUOTA: Action.NEXT,
    Kind.PERMISSION: Action.NEXT,
    Kind.MODEL_UNAVAILABLE: Action.NEXT,
    Kind.RATE_LIMITED: Action.WAIT,
    Kind.TIMEOUT: Action.NEXT,  # may already be billed
    Kind.UNAVAILABLE: Action.AGAIN,
    Kind.INVALID_REQUEST: Action.FAIL,
    Kind.CONTEXT_WINDOW: Action.LARGER,
    Kind.CONTENT_POLICY: Action.FAIL,
    Kind.UNSUPPORTED_PARAMETER: Action.NEXT,
    Kind.BAD_ANSWER: Action.ONCE,
}
_VERDICTS = {
    Kind.AUTHENTICATION: Verdict.ACCOUNT,
    Kind.QUOTA: Verdict.ACCOUNT,
    Kind.PERMISSION: Verdict.MODEL,
    Kind.MODEL_UNAVAILABLE: Verdict.MODEL,
    Kind.RATE_LIMITED: Verdict.THROTTLED,
    Kind.TIMEOUT: Verdict.FAILED,
    Kind.UNAVAILABLE: Verdict.FAILED,
    Kind.INVALID_REQUEST: Verdict.ALIVE,
    Kind.CONTEXT_WINDOW: Verdict.ALIVE,
    Kind.CONTENT_POLICY: Verdict.ALIVE,
    Kind.UNSUPPORTED_PARAMETER: Verdict.STOPPED,  # found by LiteLLM before anything is sent
    Kind.BAD_ANSWER: Verdict.BAD,
}
# By the class of LiteLLM's exception, where the class says more than the status. Names, so that this file and its
# tests need not import LiteLLM; the most derived class that is listed wins.
_BY_CLASS = {
    "ContextWindowExceededError": Kind.CONTEXT_WINDOW,
    "ContentPolicyViolationError": Kind.CONTENT_POLICY,
    "UnsupportedParamsError": Kind.UNSUPPORTED_PARAMETER,
    "APIResponseValidationError": Kind.BAD_ANSWER,
    "JSONSchemaValidationError": Kind.BAD_ANSWER,
    "APITimeoutError": Kind.TIMEOUT,  # the parent of litellm.Timeout
    "TimeoutError": Kind.TIMEOUT,
}
# Before the class, since LiteLLM gives OpenAI's 403, 409, 413 as BadRequestError.
_BY_STATUS = {
    401: Kind.AUTHENTICATION,
    402: Kind.QUOTA,
    403: Kind.PERMISSION,
    404: Kind.MODEL_UNAVAILABLE,
    405: Kind.MODEL_UNAVAILABLE,
    408: Kind.TIMEOUT,
    409: Kind.UNAVAILABLE,
    410: Kind.MODEL_UNAVAILABLE,
    429: Kind.RATE_LIMITED,
    504: Kind.TIMEOUT,
}
# Providers report an empty account in many ways. Google speaks of quota and billing in ordinary 429s: there only the
# code that OpenAI gives counts.
_NO_MONEY = re.compile(
    r"credit balance|insufficient[_ ](?:quota|credits?|balance|funds)|exceeded your (?:current )?quota|"
    r"quota (?:has been |was )?exceeded|(?:out of|no|not enough) credits|billing[_ ](?:hard[_ ]limit|account|details|not)",
    re.IGNORECASE,
)
_INNOCENT = frozenset({"APIResponseValidationError", "JSONSchemaValidationError"})
_MALFORMED = re.compile(r"Invalid response object")
_NO_QUOTA = re.compile(r"insufficient_quota", re.IGNORECASE)
_NO_MONEY_TEXTS = {400: _NO_MONEY, 403: _NO_MONEY, 429: _NO_QUOTA}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed call. `text` is the provider's, not yet redacted; `error_type` the exception's class."""

    kind: Kind
    status: int | None
    retry_after_s: float | None
    text: str
    error_type: str
    innocent: bool = False
    """The provider did as it should, and the request led to it: a content filter, too few tokens, an echo of its words."""

    @property
    def verdict(self) -> Verdict:
        """Return what it says of the provider."""
        return Verdict.ALIVE if self.innocent else self.kind.verdict


def classify(
    error: BaseException, *, now: datetime, headers: Mapping[str, str] | None = None, sent: Callable[[], str] = str
) -> Failure:
    """Return what an exception out of LiteLLM means.

    `headers` are the answer's, names in lower case, where the caller has heard them; else those that LiteLLM left on the
    exception. `now` (aware) is what a date in Retry-After is measured from when the answer has no date itself.
    """
    status = _status(error)
    text = str(getattr(error, "message", None) or error)
    kind = _kind(error, status, text)
    echoed = kind is Kind.QUOTA and (words := _NO_MONEY_TEXTS.get(status or 0)) is not None and words.search(sent())
    return Failure(
        kind=kind,
        status=status,
        retry_after_s=retry_after_s(headers or _headers(error), now=now),
        text=text,
        error_type=type(error).__name__,
        innocent=type(error).__name__ in _INNOCENT or bool(echoed),
    )


def _kind(error: BaseException, status: int | None, text: str) -> Kind:
    if (pattern := _NO_MONEY_TEXTS.get(status or 0)) and pattern.search(text):
        return Kind.QUOTA
    for parent in type(error).__mro__:
        if kind := _BY_CLASS.get(parent.__name__):
            return kind
    if _MALFORMED.search(text):
        return Kind.BAD_ANSWER  # paid, and not to be had otherwise by asking again
    if status is None:
        return Kind.UNAVAILABLE  # a 200 whose body is an error
    if kind := _BY_STATUS.get(status):
        return kind
    # Below 400: an answer under a good status that was none, or a redirect.
    return Kind.INVALID_REQUEST if 400 <= status < 500 else Kind.UNAVAILABLE  # noqa: PLR2004  classes of HTTP status


def _status(error: BaseException) -> int | None:
    """Return the HTTP status; LiteLLM's exceptions carry one even where no answer came (500 for a lost connection)."""
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _headers(error: BaseException) -> Mapping[str, str]:
    """Return the answer's headers with lower-case names."""
    response = getattr(error, "response", None)
    for headers in (getattr(error, "litellm_response_headers", None), getattr(response, "headers", None)):
        if isinstance(headers, Mapping) and headers:
            return {str(name).lower(): str(value) for name, value in headers.items()}
    return {}
