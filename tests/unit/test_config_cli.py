"""What `ai-provider config` tells of a configuration: everything but its secrets."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from api.cli.main import run
from tests.support.configuration import Folder

SECRETS = {
    "OPENAI_API_KEY": "sk-planted-openai-0123456789",
    "REDIS_URL": "redis://user:planted-password@127.0.0.1:6390/0",
    "DATABASE_URL": "postgres://user:planted-database@db/x?password=planted-query",
    "AI_PROVIDER_HMAC_SECRET": "planted-hmac-" + "x" * 32,
    "AI_PROVIDER_CACHE_REDIS_URL": "redis://:planted-cache@c:1",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 100}\n", "default")
    folder.write("cache: {ttl: 200}\n")
    monkeypatch.setenv("CONFIG_DIR", str(folder.root))
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    return folder


def told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    """Run a command; return its status and what it wrote."""
    monkeypatch.setattr(sys, "argv", ["ai-provider", "config", *words])
    status = run()
    output = capsys.readouterr()
    assert "planted" not in output.out + output.err
    return status, output.out, output.err


def test_show_gives_every_key_its_origin_and_no_secret(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = told(capsys, monkeypatch, "show", "--json")
    shown = json.loads(out)

    assert status == 0
    assert shown["cache.ttl"] == {"value": "200", "origin": "ai-provider.yml"}
    assert shown["providers.openai.api_key"] == {"value": "********", "origin": "variable OPENAI_API_KEY"}
    assert shown["redis.url"]["value"] == "redis://127.0.0.1:6390/0"
    assert shown["jobs.lease_s"] == {"value": "15", "origin": "default"}
    assert shown["cache.enabled"]["value"] == "true"
    assert shown["environment"]["origin"] == "default"


def test_explain_tells_every_layer_that_spoke_and_which_one_holds(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_PROVIDER_CACHE_TTL", "300")
    status, out, _ = told(capsys, monkeypatch, "explain", "cache.ttl", "--json")
    found = json.loads(out)

    assert status == 0
    assert [one["value"] for one in found["said"]] == ["100", "200", "300"]
    assert found["origin"] == "variable AI_PROVIDER_CACHE_TTL"
    assert found["allowed"] == "integer, at least 1, at most 604800"
    assert found["takes_effect"] == "at a reload"
    assert found["variables"] == ["AI_PROVIDER_CACHE_TTL"]


@pytest.mark.parametrize(
    "key", ["providers.openai.api_key", "redis.url", "database.url", "service.hmac_secret", "cache.redis_url"]
)
def test_explain_masks_secrets_in_every_layer(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    folder.write("providers: {openai: {api_key: sk-planted-in-a-file}}\nredis: {url: 'redis://:planted@h:1'}\n")
    for form in ((), ("--json",)):
        status, out, _ = told(capsys, monkeypatch, "explain", key, *form)
        assert status == 0
        assert key in out


def test_explain_of_an_unknown_key_names_the_nearest(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, error = told(capsys, monkeypatch, "explain", "cache.tll")

    assert status == 1
    assert "did you mean cache.ttl?" in error


def test_show_names_the_innermost_origin_and_where_the_environment_comes_from(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("providers: {openai: {}}\n")
    folder.write("providers: {openai: {priority: 7}}\n", "default")
    monkeypatch.setenv("INFRASTRUCTURE_ENV", "production")
    _, out, _ = told(capsys, monkeypatch, "show", "--json")
    shown = json.loads(out)

    assert shown["environment"] == {"value": "production", "origin": "variable INFRASTRUCTURE_ENV"}
    assert shown["providers.openai.priority"] == {"value": "7", "origin": "default.yml"}


@pytest.mark.parametrize("text", ["host=db password=planted", "user:planted@db", "planted"])
def test_a_secret_address_that_is_no_url_is_refused_without_quoting_it_and_masked_whole_below_one_that_is(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    folder.write(f"database: {{url: '{text}'}}\n")
    found = json.loads(told(capsys, monkeypatch, "explain", "database.url", "--json")[1])
    assert [one["value"] for one in found["said"]] == ["********", "postgres://db/x"]
    monkeypatch.setenv("DATABASE_URL", text)
    status, _, error = told(capsys, monkeypatch, "show")
    assert (status, "database.url: expected an address" in error) == (78, True)


def test_explain_shows_both_variables_of_a_key_and_which_one_wins(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_PROVIDER_PORT", "1001")
    monkeypatch.setenv("AI_PROVIDER_SERVICE_PORT", "1002")
    monkeypatch.setenv("GEMINI_API_KEY", "planted-1")
    monkeypatch.setenv("GOOGLE_API_KEY", "planted-2")
    found = json.loads(told(capsys, monkeypatch, "explain", "service.port", "--json")[1])
    assert (found["value"], found["origin"]) == ("1001", "variable AI_PROVIDER_PORT")
    assert found["said"] == [
        {"layer": "variable AI_PROVIDER_SERVICE_PORT (gives way to AI_PROVIDER_PORT)", "value": "1002"},
        {"layer": "variable AI_PROVIDER_PORT", "value": "1001"},
    ]
    keys = json.loads(told(capsys, monkeypatch, "explain", "providers.google.api_key", "--json")[1])["said"]
    assert [one["value"] for one in keys] == ["********"] * 2


def test_check_tells_a_variable_that_is_nearly_a_providers_setting_and_none_of_other_programs(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_MAX_TOKEN", "OPENAI_ORG_ID", "OPENAI_API_BASE", "GOOGLE_APPLICATION_CREDENTIALS",
                 "GEMINI_API_KEY", "OPENAI_MAX_TOKENS", "MISTRAL_MAX_TOKEN"):  # fmt: skip
        monkeypatch.setenv(name, "100")
    status, _, error = told(capsys, monkeypatch, "check")
    assert status == 0
    assert "OPENAI_MAX_TOKEN sets nothing; did you mean OPENAI_MAX_TOKENS?" in " ".join(error.split())
    assert error.count("did you mean") == 1


@pytest.mark.parametrize("whole", [False, True])
def test_check_says_which_change_a_running_process_refuses_and_where_it_says_why(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    for name in ("default", "ai-provider"):
        folder.write("---\ncache: {ttl: 1}\n..." if whole else "cache: {ttl: 1}\n", name)
    _, _, error = told(capsys, monkeypatch, "check")
    said = "Running processes refuse a change of default.yml, ai-provider.yml" in " ".join(error.split())
    assert said is not whole


def test_explain_of_a_section_names_its_settings(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, _, error = told(capsys, monkeypatch, "explain", "flower")

    assert (status, error) == (1, "error: flower: a section; its settings are flower.host, flower.port\n")


def test_explain_of_a_long_section_names_its_parts_and_of_an_unknown_provider_who_there_is(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, error = told(capsys, monkeypatch, "explain", "providers")
    assert "a section; its settings are providers.enabled, providers.openai.…" in error
    assert len(error) < 300
    _, _, error = told(capsys, monkeypatch, "explain", "providers.sandbox.priority")
    assert "no provider sandbox is configured; `ai-provider up` makes it where the sandbox answers" in error
    _, _, error = told(capsys, monkeypatch, "explain", "providers.openia")
    assert "did you mean openai?" in error


def test_explain_describes_a_setting_of_a_providers_limits_and_its_variable_is_really_read(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("providers: {cheap: {kind: openai, prices: {m: {input: 1, output: 2}}}}\n")
    monkeypatch.setenv("CHEAP_LIMITS_CONCURRENCY", "3")
    found = json.loads(told(capsys, monkeypatch, "explain", "providers.cheap.limits.concurrency", "--json")[1])
    assert (found["meaning"], found["value"]) == ("Calls in flight.", "3")
    assert found["origin"] == "variable CHEAP_LIMITS_CONCURRENCY"
    assert "CHEAP_LIMITS_CONCURRENCY" in found["variables"]
    assert "at least 1" in found["allowed"]


def test_check_tells_all_faults_at_once_and_exits_78(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.write("cache: {ttl: 0}\nservice: {prot: 1}\nproviders: {enabled: []}\n")
    monkeypatch.setenv("AI_PROVIDER_PROT", "1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk planted")
    status, _, error = told(capsys, monkeypatch, "check")

    assert status == 78
    assert "cache.ttl: expected at least 1" in error
    for text in ("cache.ttl", "service.prot", "providers.enabled", "AI_PROVIDER_PROT", "ai-provider.yml"):
        assert text in error


def test_the_schema_states_types_ranges_meanings_and_when_a_change_takes_effect(
    folder: Folder, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    status, out, _ = told(capsys, monkeypatch, "schema")
    schema = json.loads(out)

    assert status == 0
    ttl, port = schema["$defs"]["Cache"]["properties"]["ttl"], schema["$defs"]["Service"]["properties"]["port"]
    assert (ttl["minimum"], ttl["maximum"], ttl["x-takes-effect"]) == (1, 604_800, "reload")
    assert "Seconds" in ttl["description"]
    assert (port["maximum"], port["x-takes-effect"]) == (65_535, "start")
    assert schema["additionalProperties"] is False
    assert schema["properties"]["providers"]["properties"]["enabled"]["minItems"] == 1
    assert not {"environment", "version", "enabled"} & schema["properties"].keys()
