"""The sandbox as a wall of providers over HTTP: profiles, limits, ports and faults of each by itself, while it runs."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.support.sandbox import SandboxProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio
HEADERS = {"authorization": "Bearer any", "x-api-key": "any", "anthropic-version": "2023-06-01"}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(headers=HEADERS, timeout=20) as made:
        yield made


async def ask(http: httpx.AsyncClient, base: str, prompt: str = "hello", *, wire: str = "openai") -> httpx.Response:
    body: dict[str, Any] = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": prompt}]}
    path = "/v1/messages" if wire == "anthropic" else "/v1/chat/completions"
    return await http.post(base + path, json=body)


async def test_instances_differ_in_speed_and_are_changed_while_they_run(
    sandbox: SandboxProcess, http: httpx.AsyncClient
) -> None:
    sandbox.set_instances(slow={"latency_s": 0.6}, quick={})

    async def timed(name: str) -> float:
        before = time.monotonic()
        assert (await ask(http, sandbox.for_instance(name))).status_code == 200
        return time.monotonic() - before

    assert await timed("slow") >= 0.6 > await timed("quick")
    sandbox.set_instances(slow={"latency_s": 0}, quick={"per_token_s": 0.01})
    assert await timed("slow") < 0.6
    assert await timed("quick") > 0.3
    assert sandbox.control("GET", "instances") == {"quick": {"per_token_s": 0.01}, "slow": {}}


@pytest.mark.parametrize("wire", ["openai", "anthropic"])
async def test_limits_are_told_in_every_answer_and_kept(
    sandbox: SandboxProcess, http: httpx.AsyncClient, wire: str
) -> None:
    sandbox.set_instances(tight={"limits": {"requests_per_minute": 3, "window_s": 3_600}})
    answers = [await ask(http, sandbox.for_instance("tight"), wire=wire) for _ in range(5)]
    assert [one.status_code for one in answers] == [200, 200, 200, 429, 429]
    name = "x-ratelimit-remaining-requests" if wire == "openai" else "anthropic-ratelimit-requests-remaining"
    assert [one.headers[name] for one in answers] == ["2", "1", "0", "0", "0"]
    assert 1_100 <= int(answers[-1].headers["retry-after"]) <= 1_200
    assert "Rate limit" in answers[-1].json()["error"]["message"]
    assert (await ask(http, sandbox.for_instance("wide"), wire=wire)).status_code == 200


async def test_calls_at_once_beyond_the_limit_are_refused(sandbox: SandboxProcess, http: httpx.AsyncClient) -> None:
    sandbox.set_instances(narrow={"latency_s": 1.0, "limits": {"concurrency": 4}})
    answers = await asyncio.gather(*(ask(http, sandbox.for_instance("narrow"), f"{n}") for n in range(10)))
    assert sorted(one.status_code for one in answers) == [200] * 4 + [429] * 6


async def test_a_storm_ends_by_itself(sandbox: SandboxProcess, http: httpx.AsyncClient) -> None:
    sandbox.set_instances(stormy={"limits": {"storm_s": 1.2}})
    assert (await ask(http, sandbox.for_instance("stormy"))).headers["retry-after"] == "2"

    async def answered() -> bool:
        return (await ask(http, sandbox.for_instance("stormy"))).status_code == 200

    await eventually(answered, within_s=10, every_s=0.1, what="the storm is over")


async def test_a_closed_port_refuses_and_cuts_off_and_opens_again_where_it_was(
    sandbox: SandboxProcess, http: httpx.AsyncClient
) -> None:
    base = sandbox.set_instances(own={"port": "open", "latency_s": 30})["own"]["url"]
    waiting = asyncio.create_task(ask(http, base, "in flight when the port closes"))
    await eventually(lambda: sandbox.counters()["in_flight"] == 1, what="a call in flight")
    sandbox.set_instances(own={"port": "closed"})
    with pytest.raises(httpx.TransportError):
        await waiting
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            await ask(http, base)
    assert sandbox.set_instances(own={"port": "open"})["own"]["url"] == base
    assert (await ask(http, base)).status_code == 200
    assert sandbox.counters()["by_instance"] == {"own": 2}


async def test_ports_open_and_close_many_times_on_the_same_number(
    sandbox: SandboxProcess, http: httpx.AsyncClient
) -> None:
    base = sandbox.set_instances(own={"port": "closed"})["own"]["url"]
    for _ in range(20):
        assert sandbox.set_instances(own={"port": "open"})["own"]["url"] == base
        assert (await ask(http, base)).status_code == 200
        sandbox.set_instances(own={"port": "closed"})
        with pytest.raises(httpx.TransportError):  # refused, or the end of a connection kept from before
            await ask(http, base)


async def test_the_list_of_models_fails_apart_from_completions(
    sandbox: SandboxProcess, http: httpx.AsyncClient
) -> None:
    sandbox.set_faults(
        {"match": {"instance": "a", "path": "/v1/models"}, "action": {"status": 503}},
        {"match": {"instance": "b", "path": "/v1/chat/*"}, "action": {"status": 503}},
    )

    async def statuses(name: str) -> tuple[int, int]:
        base = sandbox.for_instance(name)
        return (await http.get(f"{base}/v1/models")).status_code, (await ask(http, base)).status_code

    assert await statuses("a") == (503, 200)
    assert await statuses("b") == (200, 503)
    assert [rule["hits"] for rule in sandbox.faults()] == [1, 1]


async def test_the_timeline_tells_what_each_instance_had_in_each_second(
    sandbox: SandboxProcess, http: httpx.AsyncClient
) -> None:
    sandbox.set_faults({"preset": "openai-500", "match": {"instance": "b"}})
    for name in ("a", "a", "b"):
        await ask(http, sandbox.for_instance(name))
    await http.get(f"{sandbox.for_instance('a')}/v1/models")
    shown = sandbox.timeline()

    def total(instance: str, what: str) -> int:
        return sum(counted.get(what, 0) for counted in shown["instances"][instance].values())

    assert (total("a", "calls"), total("a", "models"), total("a", "200")) == (2, 1, 3)
    assert (total("b", "calls"), total("b", "500")) == (1, 1)
    assert all(0 <= int(second) <= shown["now_s"] for second in shown["instances"]["a"])


async def test_serials_tell_two_answers_to_one_prompt_apart(sandbox: SandboxProcess, http: httpx.AsyncClient) -> None:
    sandbox.set_instances(told={"serials": True})
    ids = {(await ask(http, sandbox.for_instance("told"))).json()["id"] for _ in range(3)}
    assert len(ids) == 3
    assert len({(await ask(http, sandbox.for_instance("plain"))).json()["id"] for _ in range(3)}) == 1


async def test_a_malformed_instance_changes_nothing(sandbox: SandboxProcess, http: httpx.AsyncClient) -> None:
    sandbox.set_instances(a={"latency_s": 0.1})
    refused = await http.put(f"{sandbox.url}/_sandbox/instances", json={"a": {"latency_s": 1}, "b": {"speed": 2}})
    assert refused.status_code == 400
    assert "speed" in refused.json()["error"]
    assert sandbox.control("GET", "instances") == {"a": {"latency_s": 0.1}}


async def test_its_root_says_what_it_is_and_its_control_plane_what_is_wrong_with_a_body(
    sandbox: SandboxProcess, http: httpx.AsyncClient
) -> None:
    hint = await http.get(f"{sandbox.url}/", headers={"authorization": ""})
    assert (hint.status_code, "docs/providers.md" in hint.text) == (200, True)
    for path, body, told in (
        ("instances", {"slow": {"latency": 1}}, "slow.latency: no such field; did you mean latency_s?"),
        ("instances", {"slow": {"latency_s": "x"}}, "slow.latency_s: expected a number, got a string of 1 character"),
        ("instances", {}, "body: expected at least 1 item(s), got an empty object"),
        ("faults", [{"preset": "openai-5000"}], "got openai-5000"),
        ("faults", [{"action": {"status": 200}}], "0.action.status: expected at least 400, got 200"),
    ):
        answer = await http.put(f"{sandbox.url}/_sandbox/{path}", json=body)
        assert answer.status_code == 400
        assert told in (error := answer.json()["error"])
        assert not re.search("pydantic|validation error|Value error", error)
    broken = await http.put(f"{sandbox.url}/_sandbox/faults", content=b"[{")
    assert broken.json() == {"error": "expected the body to be JSON"}
