"""What every configuration promises, judged by one body on the null, the memory and the real one."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.base.base_config import BaseConfig, Environment, NullConfig
from infrastructure.core.config_core import CoreConfig, Sources

UNKNOWN = ["no.such.key", "no", "", ".", "service..port", "service.", "service.port.deeper", "ü.ä"]


def _core(tmp_path: Path) -> CoreConfig:
    sources = Sources(service="ai-provider", environment=Environment.TEST, environ={}, secrets_dir=tmp_path)
    return CoreConfig("ai-provider", Environment.TEST, sources=sources)


@pytest.fixture(params=["null", "memory", "core"])
def config(request: pytest.FixtureRequest, tmp_path: Path) -> BaseConfig:
    if request.param == "core":
        return _core(tmp_path)
    kind = NullConfig if request.param == "null" else BaseConfig
    return kind("ai-provider", Environment.TEST)


def test_it_knows_its_service_and_environment(config: BaseConfig) -> None:
    assert (config.service_name, config.environment) == ("ai-provider", Environment.TEST)


@pytest.mark.parametrize("key", UNKNOWN)
def test_a_key_without_a_value_gives_the_default_and_none_without_one(config: BaseConfig, key: str) -> None:
    default = object()
    assert config.get(key, default) is default
    assert config.get(key) is None


def test_what_is_set_is_what_is_got_where_anything_is_kept(config: BaseConfig) -> None:
    assert config.set("service.port", 8006) is None  # type: ignore[func-returns-value]
    assert config.get("service.port", 1) == (1 if isinstance(config, NullConfig) else 8006)


def test_a_section_is_got_whole_and_changing_it_is_not_setting(config: BaseConfig) -> None:
    config.set("service.port", 8006)
    section = config.get("service", {})
    assert section.get("port") in {None, 8006}
    if isinstance(config, CoreConfig):
        section["port"] = 1
        assert config.get("service.port") == 8006


def test_a_value_in_memory_gives_way_to_a_section_and_back() -> None:
    config = BaseConfig("ai-provider", Environment.TEST)
    config.set("a", 1)
    config.set("a.b", 2)
    assert (config.get("a"), config.get("a.b"), config.get("a.b.c", 3)) == ({"b": 2}, 2, 3)
    config.set("a", 4)
    assert (config.get("a"), config.get("a.b")) == (4, None)
