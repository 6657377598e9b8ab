"""Who may answer a request: candidates without those that plainly cannot, and what is said where none is left."""

from __future__ import annotations

import time
from typing import Any

import pytest
from pydantic import SecretStr

from infrastructure.core.config_core import Provider, ProviderKind, Settings
from infrastructure.core.error_core.classification import ErrorClass, classify
from workers.jobs.models import Attempt
from workers.providers import route
from workers.providers.calls import Call, CallerFault, CompletionFailed
from workers.providers.library import UNKNOWN, Facts

TABLE = {
    "small": Facts(mode="chat", window=1_000, tools=False, vision=False, schemas=False),
    "large": Facts(mode="chat", window=100_000, tools=True, vision=True, schemas=True),
    "bridged": Facts(mode="responses", window=100_000),
}
TOOLS = [{"type": "function", "function": {"name": "f"}}]
PICTURE = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}, {"type": "text", "text": "What?"}]
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {}}}


def facts(_: ProviderKind, model: str) -> Facts:
    """Look a model up."""
    return TABLE.get(model, UNKNOWN)


def able(*models: str, earlier: tuple[Attempt, ...] = (), content: Any = "Hello", **params: Any) -> list[str]:
    """Return the models of those that may answer."""
    provider = Provider(api_key=SecretStr("key"), max_tokens=50)
    settings = Settings(
        providers={"p": provider}, enabled=("p",), models={"m": tuple(f"p/{model}" for model in models)}
    )
    messages = [{"role": "user", "content": content}]
    call = Call(
        model="m", params={"messages": messages, **params}, deadline=time.monotonic() + 9, job_id="j", tenant="t",
        earlier=earlier,
    )  # fmt: skip
    return [one.model for one in route.able(route.targets(settings, call, facts), call)]


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ({}, ["small", "large", "unknown"]),
        ({"tools": TOOLS}, ["large", "unknown"]),
        ({"functions": [{"name": "f"}]}, ["large", "unknown"]),
        ({"content": PICTURE}, ["large", "unknown"]),
        ({"response_format": SCHEMA}, ["large", "unknown"]),
        ({"response_format": {"type": "json_object"}}, ["small", "large", "unknown"]),
        ({"content": "x" * 13_000}, ["large", "unknown"]),
        ({"content": "x" * 11_000}, ["small", "large", "unknown"]),
    ],
)
def test_only_those_that_plainly_lack_something_are_left_out(params: dict[str, Any], left: list[str]) -> None:
    assert able("small", "large", "unknown", **params) == left


@pytest.mark.parametrize(
    ("model", "params", "code"),
    [
        ("small", {"tools": TOOLS}, "unsupported_parameter"),
        ("small", {"content": PICTURE}, "unsupported_parameter"),
        ("small", {"response_format": SCHEMA}, "unsupported_parameter"),
        ("small", {"content": "x" * 13_000}, "context_window_exceeded"),
        ("large", {"max_tokens": 51}, "no_candidate"),
        ("bridged", {}, "no_candidate"),
    ],
)
def test_a_request_that_nobody_can_answer_is_the_callers_fault_and_no_alarm(
    model: str, params: dict[str, Any], code: str
) -> None:
    with pytest.raises(CallerFault) as failed:
        able(model, **params)
    assert (failed.value.job_code, failed.value.attempts) == (code, ())
    assert classify(failed.value).error_class is ErrorClass.REQUEST


def test_a_model_that_openai_serves_by_another_interface_is_refused_in_plain_words() -> None:
    with pytest.raises(CallerFault, match="Responses API only"):
        able("bridged")
    assert able("bridged", "large") == ["large"]


def test_who_timed_out_for_this_job_before_is_left_out() -> None:
    late = Attempt(provider="p", model="large", outcome="provider_timeout", status=None, latency_ms=1, cost_usd=None)
    assert able("small", "large", earlier=(late,)) == ["small"]
    with pytest.raises(CompletionFailed) as failed:
        able("large", earlier=(late,))
    assert failed.value.job_code == "provider_timeout"


def test_a_model_that_the_configuration_has_lost_is_no_candidate() -> None:
    call = Call(model="gone", params={}, deadline=0, job_id="j", tenant="t")
    with pytest.raises(CompletionFailed) as failed:
        route.targets(Settings(), call, facts)
    assert failed.value.job_code == "no_candidate"


def test_candidates_are_worked_out_once_a_configuration() -> None:
    looked: list[str] = []

    def look(kind: ProviderKind, model: str) -> Facts:
        looked.append(model)
        return facts(kind, model)

    routes, call = route.Routes(look), Call(model="a/small", params={}, deadline=0, job_id="j", tenant="t")
    first, second = (Settings(enabled=("a",), providers={"a": Provider(api_key=SecretStr("key"))}) for _ in range(2))
    before = routes.targets(first, call)
    assert routes.targets(first, call) is before
    assert looked == ["small"]
    assert routes.targets(second, call) == before
    assert looked == ["small", "small"]


def test_a_configuration_remembers_a_bounded_number_of_models_that_callers_made_up() -> None:
    routes, settings = (
        route.Routes(facts),
        Settings(enabled=("a",), providers={"a": Provider(api_key=SecretStr("key"))}),
    )
    for number in range(route.MOST_ROUTES + 10):
        call = Call(model=f"a/{number}", params={}, deadline=0, job_id="j", tenant="t")
        assert [one.model for one in routes.targets(settings, call)] == [str(number)]
    assert len(routes._found) == route.MOST_ROUTES
