"""Each shape that the sandbox can give an answer, as it arrives over HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import httpx
import pytest

from tests.support.machine import in_time
from tests.support.sandbox import UNRESOLVABLE, SandboxProcess, refusing_port
from workers.providers.sandbox.answers import prose
from workers.providers.sandbox.presets import PRESETS

PROMPT = "What weighs more?"
HEADERS = {"authorization": "Bearer any"}
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}

# preset: status, type and code of the error
OPENAI_ERRORS = {
    "400": (400, "invalid_request_error", None),
    "400-context-length": (400, "invalid_request_error", "context_length_exceeded"),
    "400-content-policy": (400, "invalid_request_error", "content_policy_violation"),
    "401": (401, "invalid_request_error", "invalid_api_key"),
    "402": (402, "billing_error", "payment_required"),
    "403": (403, "invalid_request_error", "permission_denied"),
    "404": (404, "invalid_request_error", "model_not_found"),
    "408": (408, "server_error", "request_timeout"),
    "409": (409, "invalid_request_error", "conflict"),
    "413": (413, "invalid_request_error", "request_too_large"),
    "422": (422, "invalid_request_error", None),
    "429-rate": (429, "requests", "rate_limit_exceeded"),
    "429-insufficient-quota": (429, "insufficient_quota", "insufficient_quota"),
    "500": (500, "server_error", None),
    "502": (502, "server_error", None),
    "503": (503, "server_error", "server_overloaded"),
    "504": (504, "server_error", None),
    "529": (529, "server_error", None),
    "error-object": (200, "server_error", None),
}
ANTHROPIC_ERRORS = {
    "400": (400, "invalid_request_error"),
    "400-prompt-too-long": (400, "invalid_request_error"),
    "400-credit-balance": (400, "invalid_request_error"),
    "401": (401, "authentication_error"),
    "403": (403, "permission_error"),
    "404": (404, "not_found_error"),
    "413": (413, "request_too_large"),
    "429": (429, "rate_limit_error"),
    "500": (500, "api_error"),
    "503": (503, "api_error"),
    "504": (504, "timeout_error"),
    "529": (529, "overloaded_error"),
    "overloaded-200": (200, "overloaded_error"),
}
RETRY_AFTER = {"0": "0", "7": "7", "60": "60", "61": "61", "minus-5": "-5", "1000000000": "1000000000",
               "garbage": "soon, perhaps"}  # fmt: skip
OPENAI_OTHERS = {"hang", "reset", "cut", "not-json", "empty-object", "no-choices", "null-content", "empty-content",
                 "content-filter"}  # fmt: skip
ANTHROPIC_OTHERS = {"not-json", "hang", "reset"}


@dataclass
class Asker:
    """A client that asks one question over either wire."""

    http: httpx.Client

    def __call__(self, wire: str = "openai", **extra: Any) -> httpx.Response:
        timeout = httpx.Timeout(extra.pop("timeout_s", 10))
        body = {"model": "m", "max_tokens": 200, "messages": [{"role": "user", "content": PROMPT}], **extra}
        return self.http.post(PATHS[wire], json=body, headers=HEADERS, timeout=timeout)


@pytest.fixture
def ask(sandbox: SandboxProcess) -> Iterator[Asker]:
    with httpx.Client(base_url=sandbox.url) as http:
        yield Asker(http)


def choice(response: httpx.Response) -> Any:
    assert response.status_code == 200
    return response.json()["choices"][0]


def test_the_presets_are_the_answers_to_test_but_the_two_that_no_server_can_give(sandbox: SandboxProcess) -> None:
    openai = OPENAI_ERRORS.keys() | OPENAI_OTHERS
    anthropic = ANTHROPIC_ERRORS.keys() | ANTHROPIC_OTHERS
    assert (len(openai), len(anthropic)) == (28, 16)
    retries = {f"openai-429-retry-after-{name}" for name in [*RETRY_AFTER, "date"]}
    named = {f"openai-{name}" for name in openai} | {f"anthropic-{name}" for name in anthropic} | retries
    assert sandbox.control("GET", "presets").keys() == named == PRESETS.keys()


@pytest.mark.parametrize("name", OPENAI_ERRORS)
def test_an_openai_error_has_its_status_type_and_code(sandbox: SandboxProcess, ask: Asker, name: str) -> None:
    sandbox.set_faults({"preset": f"openai-{name}"})
    response = ask()
    error = response.json()["error"]
    assert (response.status_code, error["type"], error["code"]) == OPENAI_ERRORS[name]
    assert error["message"]
    assert sandbox.counters()["by_status"] == {str(OPENAI_ERRORS[name][0]): 1}


@pytest.mark.parametrize("name", ANTHROPIC_ERRORS)
def test_an_anthropic_error_has_its_status_and_type(sandbox: SandboxProcess, ask: Asker, name: str) -> None:
    sandbox.set_faults({"preset": f"anthropic-{name}"})
    response = ask("anthropic")
    body = response.json()
    assert body["type"] == "error"
    assert (response.status_code, body["error"]["type"]) == ANTHROPIC_ERRORS[name]
    assert body["error"]["message"]


def test_the_errors_that_only_their_words_tell_apart_say_them(sandbox: SandboxProcess, ask: Asker) -> None:
    said = {}
    for wire, name in [("openai", "400-context-length"), ("openai", "429-insufficient-quota"),
                       ("anthropic", "400-prompt-too-long"), ("anthropic", "400-credit-balance")]:  # fmt: skip
        sandbox.set_faults({"preset": f"{wire}-{name}"})
        said[name] = ask(wire).json()["error"]["message"]
    assert "maximum context length" in said["400-context-length"]
    assert "quota" in said["429-insufficient-quota"]
    assert "prompt is too long" in said["400-prompt-too-long"]
    assert "credit balance is too low" in said["400-credit-balance"]


@pytest.mark.parametrize("wire", PATHS)
def test_a_hang_answers_nothing_until_the_client_leaves(sandbox: SandboxProcess, ask: Asker, wire: str) -> None:
    sandbox.set_faults({"preset": f"{wire}-hang"})
    with pytest.raises(httpx.ReadTimeout):
        ask(wire, timeout_s=0.2)
    sandbox.wait_until_idle()
    assert sandbox.counters()["by_status"] == {"hang": 1}


@pytest.mark.parametrize("wire", PATHS)
def test_a_reset_ends_the_connection_without_an_answer(sandbox: SandboxProcess, ask: Asker, wire: str) -> None:
    sandbox.set_faults({"preset": f"{wire}-reset"})
    with pytest.raises(httpx.ReadError, match="reset"):
        ask(wire)
    sandbox.set_faults()
    assert ask(wire).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_body_ends_before_its_end(sandbox: SandboxProcess, ask: Asker, stream: bool) -> None:
    sandbox.set_faults({"preset": "openai-cut"})
    with pytest.raises(httpx.RemoteProtocolError):
        ask(stream=stream)
    assert sandbox.counters()["by_status"] == {"cut": 1}


@pytest.mark.parametrize("wire", PATHS)
def test_an_answer_that_is_not_json_comes_with_status_200(sandbox: SandboxProcess, ask: Asker, wire: str) -> None:
    sandbox.set_faults({"preset": f"{wire}-not-json"})
    response = ask(wire)
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html")
    assert response.text.startswith("<html>")


def test_the_lies_under_status_200_have_their_shapes(sandbox: SandboxProcess, ask: Asker) -> None:
    sandbox.set_faults(*({"preset": f"openai-{name}", "times": 1}
                         for name in ("empty-object", "no-choices", "null-content", "empty-content")))  # fmt: skip
    assert ask().json() == {}
    assert ask().json()["choices"] == []
    assert choice(ask())["message"]["content"] is None
    assert choice(ask())["message"]["content"] == ""


def test_a_filtered_answer_is_half_said_and_tells_why(sandbox: SandboxProcess, ask: Asker) -> None:
    sandbox.set_faults({"preset": "openai-content-filter"})
    filtered = choice(ask())
    assert filtered["finish_reason"] == "content_filter"
    assert prose(PROMPT).startswith(filtered["message"]["content"])
    assert 0 < len(filtered["message"]["content"]) < len(prose(PROMPT))


def test_the_anthropic_wire_lies_in_its_own_shapes(sandbox: SandboxProcess, ask: Asker) -> None:
    lies = ("no-choices", "null-content", "empty-content", "content-filter")
    sandbox.set_faults(*({"action": {"lie": lie}, "times": 1} for lie in lies))
    none, null, empty, filtered = (ask("anthropic").json() for _ in lies)
    assert (none["content"], null["content"]) == ([], None)
    assert empty["content"] == [{"type": "text", "text": ""}]
    assert filtered["stop_reason"] == "refusal"


def test_usage_may_be_wrong_or_missing(sandbox: SandboxProcess, ask: Asker) -> None:
    sandbox.set_faults({"action": {"lie": "wrong-usage"}, "times": 1}, {"action": {"lie": "no-usage"}})
    assert ask().json()["usage"]["prompt_tokens"] == -3
    missing = ask().json()
    assert "usage" not in missing
    assert missing["choices"][0]["message"]["content"] == prose(PROMPT)


@pytest.mark.parametrize("name", RETRY_AFTER)
def test_retry_after_goes_out_as_it_is(sandbox: SandboxProcess, ask: Asker, name: str) -> None:
    sandbox.set_faults({"preset": f"openai-429-retry-after-{name}"})
    response = ask()
    assert (response.status_code, response.headers["retry-after"]) == (429, RETRY_AFTER[name])


def test_retry_after_may_be_a_date_ahead(sandbox: SandboxProcess, ask: Asker) -> None:
    sandbox.set_faults({"preset": "openai-429-retry-after-date"})
    date = parsedate_to_datetime(ask().headers["retry-after"])
    assert 15 < date.timestamp() - time.time() <= 20


def test_a_fault_may_be_one_instances_only(sandbox: SandboxProcess, ask: Asker) -> None:
    sandbox.set_faults({"preset": "openai-500", "match": {"instance": "east"}})
    body = {"model": "m", "messages": [{"role": "user", "content": PROMPT}]}
    statuses = [
        httpx.post(f"{base}/v1/chat/completions", json=body, headers=HEADERS).status_code
        for base in (sandbox.for_instance("east"), sandbox.for_instance("west"), sandbox.url)
    ]
    assert statuses == [500, 200, 200]
    assert sandbox.counters()["by_instance"] == {"default": 1, "east": 1, "west": 1}


def test_a_fault_may_refuse_one_key_and_the_list_of_models(sandbox: SandboxProcess) -> None:
    sandbox.set_faults({"match": {"header": {"Authorization": "Bearer stolen"}}, "action": {"status": 401}})
    statuses = [
        httpx.get(f"{sandbox.v1}/models", headers={"authorization": f"Bearer {key}"}).status_code
        for key in ("stolen", "mine")
    ]
    assert statuses == [401, 200]


@pytest.mark.parametrize("latency", [0.2, {"min": 0.2, "max": 0.3}])
def test_a_fault_of_latency_alone_makes_a_good_answer_late(sandbox: SandboxProcess, ask: Asker, latency: Any) -> None:
    sandbox.set_faults({"action": {"latency_s": latency}})
    before = time.monotonic()
    assert choice(ask())["message"]["content"] == prose(PROMPT)
    assert (took_s := time.monotonic() - before) >= 0.2
    assert in_time(took_s, 2)


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_body_takes_its_time_and_arrives_whole(sandbox: SandboxProcess, ask: Asker, stream: bool) -> None:
    sandbox.set_faults({"action": {"slow_body_s": 0.3}})
    before = time.monotonic()
    response = ask(stream=stream)
    assert (took_s := time.monotonic() - before) >= 0.25
    assert in_time(took_s, 2)
    assert response.text.endswith("[DONE]\n\n") if stream else choice(response)["message"]["content"] == prose(PROMPT)


def test_an_error_answers_a_request_for_a_stream_as_json(sandbox: SandboxProcess, ask: Asker) -> None:
    sandbox.set_faults({"preset": "openai-503"})
    response = ask(stream=True)
    assert (response.status_code, response.headers["content-type"]) == (503, "application/json")


def test_a_malformed_rule_is_refused_with_its_place(sandbox: SandboxProcess) -> None:
    response = httpx.put(f"{sandbox.url}/_sandbox/faults", json=[{"preset": "openai-5000"}])
    assert response.status_code == 400
    assert "openai-5000" in response.json()["error"]
    assert sandbox.faults() == []


@pytest.mark.parametrize(("method", "name", "status"), [("GET", "nothing", 404), ("POST", "faults", 405),
                                                        ("DELETE", "presets", 405)])  # fmt: skip
def test_the_control_plane_refuses_what_it_does_not_know(
    sandbox: SandboxProcess, method: str, name: str, status: int
) -> None:
    response = httpx.request(method, f"{sandbox.url}/_sandbox/{name}")
    assert response.status_code == status
    assert response.json()["error"].startswith("expected")


def test_the_last_calls_parameters_are_shown_without_what_was_said(sandbox: SandboxProcess, ask: Asker) -> None:
    ask(temperature=0.5)
    last = sandbox.control("GET", "last")
    assert last["parameters"] == {"model": "m", "max_tokens": 200, "temperature": 0.5}
    assert (last["instance"], last["path"]) == ("default", "/v1/chat/completions")
    assert "authorization" in last["headers"]
    assert "any" not in str(last)
    assert PROMPT not in str(last)


def test_the_two_shapes_without_a_server_come_from_an_address() -> None:
    with refusing_port() as held, pytest.raises(httpx.ConnectError, match="refused"):
        httpx.get(f"http://127.0.0.1:{held.getsockname()[1]}/v1/models")
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{UNRESOLVABLE}/v1/models")
