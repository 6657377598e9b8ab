"""Secrets and prompts planted in real processes: none of them in a log, an answer, a figure or a message of the queue."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from infrastructure.core.config_core import load
from tests.support.logs import FIELDS
from tests.support.planted import CONFIGURED_MARK, PLANTS, PROMPTS, SECRETS, found_in
from tests.support.planting import (
    HELD,
    MODEL,
    PlantedFleet,
    echoed,
    end_all,
    quoting,
    read_all,
    refused,
    submit,
)
from tests.support.waiting import wait_for
from workers.app import make_app

PROCESSES = 2  # that answer an inspection: a worker and upkeep
MODELS = (MODEL, "openai/gpt-5-mini", "anthropic/claude-haiku-4-5", "deepseek/deepseek-chat", "google/gemini-2.5-flash")
AWAY = "google"
"""The provider whose address no name server knows: its jobs would wait for its return until they are out of time."""
AWAY_DEADLINE_S = 90
ONCE_OPEN = {"AI_PROVIDER_BREAKERS_PROBE_S": "120"}
"""Behind the deadline of those jobs: once its breaker is open, they fail, whatever the machine has to do."""
OPEN_PATHS = ("/health", "/health/ready", "/openapi.json")
PATHS = ("/api/v1/infrastructure/metrics", "/api/v1/infrastructure/services", "/api/v1/events", "/api/v1/queues")
COMMANDS = (("config", "show"), ("config", "show", "--json"))
INSPECTIONS: dict[str, dict[str, Any]] = {
    "active": {}, "reserved": {}, "scheduled": {}, "registered": {}, "revoked": {}, "active_queues": {}, "report": {},
    "stats": {}, "conf": {"with_defaults": True},
}  # fmt: skip


@dataclass
class Evidence:
    """What was seen from outside while plants went through the processes."""

    texts: dict[str, str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    echoes: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)
    logs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    key: str = ""

    def of(self, kind: str) -> dict[str, str]:
        """Return the texts of one kind."""
        found = {name: text for name, text in self.texts.items() if name.startswith(kind)}
        assert found, f"nothing was seen of {kind}"
        return found


@pytest.fixture(scope="module")
def evidence() -> Iterator[Evidence]:
    with PlantedFleet() as fleet:
        logs = {"LOG_OUTPUT_DIR": str(fleet.folder / "logs"), "LOG_LEVEL": "debug"}
        fleet.worker_env = {**logs, **ONCE_OPEN, "AI_PROVIDER_LOG_FORMAT": "console"}  # on stdout; a file has JSON
        fleet.start_worker()
        fleet.start_web(**logs, AI_PROVIDER_LOG_FORMAT="json")
        evidence = Evidence()
        evidence.key = fleet.run("ai-provider", "keys", "create", "team", "--operator").split()[0]
        headers = {"Authorization": f"Bearer {evidence.key}"}
        with httpx.Client(base_url=fleet.url, timeout=60, headers=headers) as client:
            away = _run_away(fleet, client)
            wait_for(lambda: "".join(read_all(fleet.printed).values()).count("Worker is ready") >= PROCESSES)
            _run_jobs(fleet, client, evidence, away=away)
            for turn, plant in enumerate(PLANTS):
                evidence.refusals += refused(client, plant, turn=turn)
                evidence.echoes += echoed(client, plant, turn=turn)
            for path in (*PATHS, *OPEN_PATHS):
                answer = client.get(path)
                assert answer.status_code == httpx.codes.OK, path
                evidence.texts[f"answer of {path}"] = answer.text
        for command in COMMANDS:
            evidence.texts[f"command {' '.join(command)}"] = fleet.run("ai-provider", *command)
        fleet.ears.close()
        evidence.texts["queue"] = "".join(fleet.ears.heard)
        evidence.texts |= {f"printed by {name}": text for name, text in read_all(fleet.printed).items()}
        files = read_all(fleet.folder / "logs")
        evidence.texts |= {f"log {name}": text for name, text in files.items()}
        evidence.logs = {name: [json.loads(line) for line in text.splitlines()] for name, text in files.items()}
        yield evidence


def _run_away(fleet: PlantedFleet, client: httpx.Client) -> list[str]:
    """Submit jobs to the provider that is away, and start upkeep, which would find it so, once one has called it."""
    prompts = [plant for n, plant in enumerate(PROMPTS) if MODELS[n % len(MODELS)].startswith(f"{AWAY}/")]
    ids = [submit(client, plant, model=MODELS[-1], deadline_s=AWAY_DEADLINE_S) for plant in prompts]

    def called() -> bool:
        return any(client.get(f"/api/v1/jobs/{job_id}").json()["attempts"] for job_id in ids)

    wait_for(called, within_s=60, what="a call of the provider that is away")
    fleet.start_upkeep()
    return ids


def _run_jobs(fleet: PlantedFleet, client: httpx.Client, evidence: Evidence, *, away: list[str]) -> None:
    """Run jobs that end well, that providers refuse, and that hang while Celery is inspected."""
    evidence.done = [submit(client, plant) for plant in PLANTS]
    assert {job["status"] for job in end_all(client, evidence.done)} == {"completed"}
    fleet.sandbox.set_faults(quoting(*fleet.secrets.keys, *SECRETS[:2], "Zebrafisch"))
    here = MODELS[:-1]
    refused_ones = [submit(client, plant, model=here[n % len(here)]) for n, plant in enumerate(PROMPTS)]
    evidence.failed = end_all(client, [*refused_ones, *away])
    fleet.sandbox.set_faults({"match": {"contains": HELD}, "action": {"hang": True}})
    held = [submit(client, f"{HELD} {number}") for number in range(3)]
    wait_for(lambda: fleet.sandbox.counters()["in_flight"] >= len(held), what="the calls hang")
    inspect = make_app(load(fleet.environment()).settings).control.inspect(timeout=10, limit=PROCESSES)
    for name, options in INSPECTIONS.items():
        told = getattr(inspect, name)(**options)
        assert len(told) == PROCESSES, name
        evidence.texts[f"inspect {name}"] = json.dumps(told, default=repr)
    assert evidence.texts["inspect active"].count('"completion"') >= len(held)
    for job_id in held:
        client.post(f"/api/v1/jobs/{job_id}/cancel")
    assert {job["status"] for job in end_all(client, held)} == {"cancelled"}
    fleet.sandbox.set_faults()


def test_nothing_that_callers_and_providers_say_gets_into_any_log(evidence: Evidence) -> None:
    for name, text in (evidence.of("log") | evidence.of("printed")).items():
        assert not found_in(text), name


def test_it_is_in_no_answer_of_the_front_door_to_a_bad_request(evidence: Evidence) -> None:
    assert len(evidence.refusals) > 300
    assert [text for text in evidence.refusals if found_in(text)] == []


def test_it_is_in_no_answer_that_names_what_breaks_a_rule(evidence: Evidence) -> None:
    assert len(evidence.echoes) > 80
    assert [text for text in evidence.echoes if found_in(text)] == []


def test_an_api_key_of_ours_is_nowhere_but_with_who_has_it(evidence: Evidence) -> None:
    secret = evidence.key.split("_", 2)[2]
    assert [name for name, text in evidence.texts.items() if secret in text] == []


@pytest.mark.parametrize("kind", ["answer", "command"])
def test_it_is_in_no_figure_and_no_shown_configuration(evidence: Evidence, kind: str) -> None:
    for name, text in evidence.of(kind).items():
        assert not found_in(text), name


@pytest.mark.parametrize("name", INSPECTIONS)
def test_it_is_nowhere_in_celerys_inspection(evidence: Evidence, name: str) -> None:
    assert not found_in(evidence.texts[f"inspect {name}"])


def test_it_is_in_no_message_and_no_event_of_the_queue(evidence: Evidence) -> None:
    heard = evidence.texts["queue"]
    assert heard.count("PUBLISH") > len(PLANTS)
    assert heard.count("LPUSH") > len(PLANTS)
    assert not found_in(heard)


def test_the_jobs_own_error_quotes_the_provider_without_keys_in_any_spelling(evidence: Evidence) -> None:
    assert {job["status"] for job in evidence.failed} == {"failed"}
    said = [str(job["error"]["message"]) for job in evidence.failed]
    assert sum("Zebrafisch" in text for text in said) > len(said) / 2
    for text in said:
        assert CONFIGURED_MARK not in text
        assert not set(found_in(text)) - {"zebrafisch"}
        assert "litellm" not in text.lower()


def test_every_line_of_every_process_has_the_same_form(evidence: Evidence) -> None:
    assert {name.split(".")[0] for name in evidence.logs} == {
        "ai-provider-web", "ai-provider-completions", "ai-provider-upkeep", "ai-provider-beat"
    }  # fmt: skip
    printed = [text for name, text in evidence.of("printed").items() if '"timestamp"' in text]
    assert printed
    lines = [line for lines in evidence.logs.values() for line in lines]
    lines += [json.loads(line) for text in printed for line in text.splitlines()]
    assert all(list(line) == FIELDS for line in lines)
    # The cache of keys is a service of its own in the log: it speaks when a late Redis was gone without.
    assert {"ai-provider-001"} <= {line["service_id"] for line in lines} <= {"ai-provider-001", "ai-provider-keys-001"}
    assert {line["module"].split(".")[0] for line in lines} >= {"celery", "kombu", "uvicorn", "http"}


def test_the_logs_tell_who_did_what(evidence: Evidence) -> None:
    worker = evidence.logs["ai-provider-completions.1.log"]
    done = [line["context"] for line in worker if line["context"].get("event") == "ai_completion_success"]
    assert {context["job_id"] for context in done} == set(evidence.done)
    assert {context["tenant"] for context in done} == {"team"}
    attempts = [attempt for job in evidence.failed for attempt in job["attempts"]]
    assert {attempt["provider"] for attempt in attempts} == {model.partition("/")[0] for model in MODELS}
    assert sum(line["message"] == "Provider completion failed" for line in worker) == len(attempts)
    web = [line["context"] for line in evidence.logs["ai-provider-web.1.log"] if line["message"] == "Request"]
    assert {context.get("tenant") for context in web if context["path"] == "/api/v1/completion"} >= {"team"}
    assert all(context["request_id"] for context in web)
    asked = {context["job_id"]: context["request_id"] for context in web if "job_id" in context}
    assert {context["job_id"]: context["request_id"] for context in done} == {job: asked[job] for job in evidence.done}
