"""Settings of how providers are chosen and spared: their names, their ranges, and what a bad one says."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.core.config_core.build import load_from
from infrastructure.core.error_core import ConfigError
from tests.support.configuration import Folder

PROVIDERS = "providers:\n  enabled: [openai]\n  openai: {kind: openai, limits: {requests_per_minute: 60}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write(PROVIDERS, "default")
    return folder


def test_a_provider_s_limits_come_from_a_file_and_from_either_variable(folder: Folder) -> None:
    environ = {"OPENAI_LIMITS_TOKENS_PER_MINUTE": "9000", "AI_PROVIDER_PROVIDERS_OPENAI_LIMITS_CONCURRENCY": "7"}
    limits = load_from(folder.sources(environ)).settings.providers["openai"].limits
    assert (limits.requests_per_minute, limits.tokens_per_minute, limits.concurrency) == (60, 9_000, 7)


def test_a_provider_without_limits_has_none(folder: Folder) -> None:
    folder.write("providers:\n  enabled: [openai]\n  openai: {kind: openai}\n", "default")
    settings = load_from(folder.sources()).settings
    assert settings.providers["openai"].limits.model_dump() == {
        "requests_per_minute": None, "tokens_per_minute": None, "concurrency": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("providers: {openai: {limits: {requests_per_minuet: 1}}}", "did you mean providers.openai.limits.requests_per_minute"),
        ("providers: {openai: {limits: {concurrency: 0}}}", "providers.openai.limits.concurrency"),
        ("breakers: {failures: 0}", "breakers.failures"),
        ("breakers: {probe_s: 20, max_pause_s: 10}", "expected max_pause_s to be at least probe_s"),
        ("breakers: {ratio: 1.5}", "breakers.ratio"),
        ("selection: {exploration: 0.9}", "selection.exploration"),
        ("retries: {tokens: 0}", "retries.tokens"),
        ("flights: {lease_s: 0}", "flights.lease_s"),
        ("cache: {mode: sometimes}", "cache.mode"),
        ("cache: {mode: off}", "unquoted yes, no, on and off"),
    ],
)  # fmt: skip
def test_a_value_out_of_its_range_is_refused_by_name(folder: Folder, text: str, told: str) -> None:
    folder.write(text)
    with pytest.raises(ConfigError) as caught:
        load_from(folder.sources())
    assert told in "\n".join(caught.value.problems)
