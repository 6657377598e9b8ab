"""The configuration's layers, their order, and what a bad one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.core.config_core import Environment, load, sandbox_wanted
from infrastructure.core.error_core import ConfigError

NOWHERE = Path("/nonexistent/secrets")


def write(folder: Path, name: str, text: str) -> Path:
    target = folder / "ai-provider" / f"{name}.yml"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, "utf-8")
    return folder


def faults(environ: dict[str, str], folder: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ, config_dir=folder, secrets_dir=NOWHERE)
    return caught.value.problems


def test_each_layer_wins_over_the_ones_below_it_and_is_named_as_the_origin(tmp_path: Path) -> None:
    write(tmp_path, "default", "logging: {level: debug}\nservice: {port: 1001}\njobs: {deadline_s: 10}\n")
    write(tmp_path, "production", "logging: {level: warning}\nservice: {port: 1002}\n")
    write(tmp_path, "ai-provider", "service: {port: 1003}\n")
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "openai_api_key").write_text("from-a-secret\n", "utf-8")
    write(tmp_path, "default", "logging: {level: debug}\nservice: {port: 1001}\njobs: {deadline_s: 10}\n"
          "providers: {enabled: [openai], openai: {kind: openai}}\n")  # fmt: skip
    environ = {"INFRASTRUCTURE_ENV": "production", "AI_PROVIDER_PORT": "1004", "OPENAI_API_KEY": "from-a-variable",
               "LOG_LEVEL": "error", "AI_PROVIDER_LOG_LEVEL": "critical"}  # fmt: skip

    loaded = load(environ, config_dir=tmp_path, secrets_dir=secrets)

    settings = loaded.settings
    assert settings.environment is Environment.PRODUCTION
    assert settings.jobs.deadline_s == 10
    assert settings.service.port == 1004
    assert settings.logging.level == "error"
    key = settings.providers["openai"].api_key
    assert key is not None
    assert key.get_secret_value() == "from-a-secret"
    assert loaded.origins["service.port"] == "variable AI_PROVIDER_PORT"
    assert loaded.origins["logging.level"] == "variable LOG_LEVEL"
    assert loaded.origins["providers.openai.api_key"].startswith("secret ")
    assert loaded.origins["jobs.deadline_s"].endswith("default.yml")


def test_all_faults_are_told_at_once_with_key_layer_and_nearest_name(tmp_path: Path) -> None:
    write(
        tmp_path, "default", "service: {prot: 1}\nworker: {concurrency: 0}\nproviders: {enabled: [opnai], openai: {}}\n"
    )

    problems = faults({"AI_PROVIDER_PROT": "1", "INFRASTRUCTURE_ENV": "mars"}, tmp_path)

    told = "\n".join(problems)
    assert "service.prot: no such setting; did you mean service.port?" in told
    assert "worker.concurrency" in told
    assert "default.yml" in told
    assert "did you mean openai?" in told
    assert "AI_PROVIDER_PROT: no such setting; did you mean AI_PROVIDER_PORT?" in told
    assert "INFRASTRUCTURE_ENV" in told


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("a: [1", "not valid YAML"),
        ("service: {port: 1, port: 2}", "stands twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("- 1", "expected keys and values"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused_by_name(tmp_path: Path, text: str, word: str) -> None:
    write(tmp_path, "default", text)

    problems = faults({}, tmp_path)

    assert any(word in problem for problem in problems), problems


def test_a_secret_never_stands_in_a_message(tmp_path: Path) -> None:
    write(
        tmp_path, "default", "providers: {enabled: [openai], openai: {api_key: [sk-planted], base_url: sk-planted}}\n"
    )

    assert "sk-planted" not in "\n".join(faults({}, tmp_path))


def test_variables_of_other_programs_that_share_a_prefix_are_left_alone() -> None:
    settings = load({"OPENAI_ORG_ID": "x", "GOOGLE_APPLICATION_CREDENTIALS": "/y"}, secrets_dir=NOWHERE).settings

    assert settings.in_use() == {}


@pytest.mark.parametrize(
    ("variable", "provider"),
    [
        ("OPENAI_API_KEY", "openai"),
        ("ANTHROPIC_API_KEY", "anthropic"),
        ("GOOGLE_API_KEY", "google"),
        ("GEMINI_API_KEY", "google"),
        ("DEEPSEEK_API_KEY", "deepseek"),
    ],
)
def test_a_key_alone_switches_its_provider_on(variable: str, provider: str) -> None:
    assert list(load({variable: "k"}, secrets_dir=NOWHERE).settings.in_use()) == [provider]


def test_a_server_without_keys_is_switched_on_by_its_base_url(tmp_path: Path) -> None:
    write(tmp_path, "default", "providers:\n  enabled: [ollama]\n  ollama: {needs_key: false}\n")

    environ = {"OLLAMA_BASE_URL": "http://127.0.0.1:11434/v1"}

    assert list(load(environ, config_dir=tmp_path, secrets_dir=NOWHERE).settings.in_use()) == ["ollama"]


def test_the_sandbox_stands_in_only_where_no_provider_has_a_key_and_never_in_production() -> None:
    url = {"AI_PROVIDER_SANDBOX_URL": "http://127.0.0.1:9"}

    def in_use(environ: dict[str, str]) -> list[str]:
        return list(load(url | environ, secrets_dir=NOWHERE).settings.in_use())

    assert in_use({}) == ["sandbox", "sandbox-anthropic"]
    assert in_use({"OPENAI_API_KEY": "k"}) == ["openai"]
    assert in_use({"INFRASTRUCTURE_ENV": "production"}) == []
    assert in_use({"INFRASTRUCTURE_ENV": "production", "AI_PROVIDER_SANDBOX_MODE": "on"}) == [
        "sandbox",
        "sandbox-anthropic",
    ]
    assert sandbox_wanted(load({}, secrets_dir=NOWHERE).settings)


def test_the_fingerprint_follows_every_value_and_nothing_else() -> None:
    first = load({"OPENAI_API_KEY": "a"}, secrets_dir=NOWHERE).settings.version
    again = load({"OPENAI_API_KEY": "a", "UNRELATED": "1"}, secrets_dir=NOWHERE).settings.version
    other = load({"OPENAI_API_KEY": "b"}, secrets_dir=NOWHERE).settings.version

    assert first == again
    assert first != other
