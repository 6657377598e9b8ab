"""What a value may be, beyond its type and range: rules between keys, names, addresses, texts; told with key and layer."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.core.config_core.build import load_from
from infrastructure.core.config_core.faults import Fault
from infrastructure.core.error_core import ConfigError
from tests.support.configuration import Folder

# What the file says, the key that the message names, and a word of it.
CONTRADICTIONS = {
    "a lease of one beat": ("jobs: {lease_s: 9, heartbeat_s: 5}", "jobs.lease_s", "2 times heartbeat_s"),
    "a beat longer than the lease": ("jobs: {heartbeat_s: 8}", "jobs.lease_s", "2 times heartbeat_s"),
    "a deadline beyond the longest": ("jobs: {deadline_s: 11, max_deadline_s: 10}", "jobs.deadline_s", "max_deadline_s"),
    "a soft limit above the hard one": ("worker: {soft_limit_s: 9, hard_limit_s: 9}", "worker.soft_limit_s", "below"),
    "fewer workers than the fewest": (
        "scaling: {completions: {min: 5, max: 4}}", "scaling.completions.max", "got 4 below 5",
    ),
    "more upkeep than there may be": ("scaling: {upkeep: {min: 2}}", "scaling.upkeep.max", "got 1 below 2"),
    "an address of nowhere": ("service: {host: ''}", "service.host", "match"),
    "a short HMAC secret": ("service: {hmac_secret: planted}", "service.hmac_secret", "32 characters"),
    "a provider with a slash": ("providers: {a/b: {kind: openai}}", "providers.a/b", "letters, digits"),
    "providers with the same variables": ("providers: {a-b: {}, a_b: {}}", "providers.a_b", "those of a-b"),
    "a provider with the client's variable": ("providers: {ai-provider: {}}", "providers.ai-provider", "another name"),
    "a model without candidates": ("models: {m: []}", "models.m", "at least one candidate"),
    "a candidate of blanks": ("models: {m: ['openai/ ']}", "models.m", "provider/model"),
    "a pattern of nothing": ("providers: {openai: {models: ['']}}", "providers.openai.models.0", "match"),
    "an entry of a table with dots": ("models.m: [openai/x]", "models.m", "entry of the table models"),
    "half of a character": ('service: {description: "\\ud800"}\n#' + "[" * 1_001, "service.description", "UTF-8"),
    "half of a character in a table": ('models: {"\\ud800": [openai/x]}\n#' + "[" * 1_001, "models", "UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_value_that_breaks_a_rule_is_refused_by_key_and_layer(name: str, tmp_path: Path) -> None:
    content, key, word = CONTRADICTIONS[name]
    folder = Folder(tmp_path)
    folder.write(content + "\n")

    with pytest.raises(ConfigError) as caught:
        load_from(folder.sources())

    [fault] = [one for one in caught.value.problems if isinstance(one, Fault) and one.key == key]
    assert word in fault
    assert fault.layer == str(folder.path())
    assert "planted" not in "".join(caught.value.problems)


def test_of_two_keys_that_contradict_each_other_the_layer_of_the_one_that_was_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"jobs\.lease_s: .*\(variable AI_PROVIDER_JOBS_HEARTBEAT_S\)"):
        load_from(Folder(tmp_path).sources({"AI_PROVIDER_JOBS_HEARTBEAT_S": "10"}))


@pytest.mark.parametrize(
    "url",
    [
        "redis://h", "redis://h:6379/3", "rediss://:pass@h:1/0", "unix:///run/redis.sock", "unix://:p@/run/r?db=2",
        "redis://[::1]:6379", "redis://h?protocol=3&health_check_interval=5", "rediss://h?ssl_cert_reqs=none",
    ],
)  # fmt: skip
def test_an_address_of_redis_is_taken(url: str, tmp_path: Path) -> None:
    settings = load_from(Folder(tmp_path).sources({"REDIS_URL": url})).settings

    assert settings.redis.url is not None
    assert settings.redis.url.get_secret_value() == url


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("planted@h:6379", "expected redis://"), ("http://planted", "expected redis://"), ("redis://", "expected redis://"),
        ("redis://h:planted", "expected redis://"), ("redis://h:0", "expected redis://"), ("redis://h:70000", "expected redis"),
        ("redis://[planted", "expected redis://"), ("redis:// planted", "expected redis://"), ("unix:planted", "expected"),
        ("redis://:pla#nted@h", "expected redis://"), ("redis://h/planted", "number of a database"),
        ("unix:///s?db=planted", "number of a database"), ("redis://h?foo=planted", "?: foo"),
        ("redis://h?sockettimeout=5", "did you mean socket_timeout?"), ("redis://h?ssl_cert_reqs=none", "?: ssl_cert_reqs"),
        ("redis://h?Planted=1", "no such option"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["REDIS_URL", "AI_PROVIDER_REDIS_BROKER_URL", "AI_PROVIDER_CACHE_REDIS_URL"])
def test_what_is_no_address_of_redis_is_refused_before_anything_connects(
    variable: str, url: str, word: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_from(Folder(tmp_path).sources({variable: url}))

    [problem] = caught.value.problems
    assert word in problem
    assert f"(variable {variable})" in problem
    assert "planted" not in problem


@pytest.mark.parametrize("value", ["INFO", "Info", "info", " info "])
def test_a_level_may_be_written_in_capitals_as_many_programs_have_it(value: str, tmp_path: Path) -> None:
    assert load_from(Folder(tmp_path).sources({"LOG_LEVEL": value})).settings.logging.level == "info"


def test_a_section_that_says_nothing_takes_nothing_away(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 5}\n", "default")
    folder.write("cache: {}\nproviders: {anthropic: {}, mine: {}}\nscaling: {upkeep: {depth: 7}}\n")
    settings = load_from(folder.sources()).settings

    assert settings.cache.ttl == 5
    assert (settings.providers["anthropic"].kind, settings.providers["anthropic"].models) == (
        "anthropic",
        ("claude-*",),
    )
    assert settings.providers["mine"].kind == "openai"
    assert (settings.scaling.upkeep.max, settings.scaling.upkeep.depth) == (1, 7)


def test_an_empty_table_is_said_and_an_empty_mapping_is_no_number(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 5}\n", "default")
    folder.write("models: {}\n")
    assert load_from(folder.sources()).settings.models == {}

    folder.write("cache: {ttl: {}}\n")
    with pytest.raises(ConfigError, match=r"cache\.ttl"):
        load_from(folder.sources())
