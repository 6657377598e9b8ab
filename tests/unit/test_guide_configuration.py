"""The guide's own words on configuration: its examples run and its files load."""

from __future__ import annotations

from pathlib import Path

import pytest

from infrastructure.base.base_config import BaseConfig
from infrastructure.core.cache_core import CoreCache
from infrastructure.core.config_core import (
    CoreConfig,
    Environment,
    Registry,
    SharedInfraConfigManager,
    get_config,
    manager,
)
from infrastructure.core.error_core import ConfigError
from infrastructure.core.logger_core import get_logger
from tests.support.configuration import Folder

DEFAULT = """\
# Built-in defaults for the service
service:
  name: ai-provider
  port: 8005

logging:
  level: info
  format: json

cache:
  enabled: true
  ttl: 300
"""
PRODUCTION = """\
# config/ai-provider/production.yml
logging:
  level: warning

cache:
  ttl: 600
  redis_url: redis://prod-redis:6379/0

providers:
  openai:
    priority: 1
    max_tokens: 4000
"""
SERVICE = """\
# config/ai-provider/ai-provider.yml
service:
  description: AI Provider microservice
  version: 1.0.0

providers:
  enabled:
    - openai
    - anthropic
    - google
    - deepseek
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """The guide's folder as `CONFIG_DIR`, and a process that has read no configuration yet."""
    folder = Folder(tmp_path)
    folder.write(DEFAULT, "default")
    folder.write(PRODUCTION, "production")
    folder.write(SERVICE)
    monkeypatch.setenv("CONFIG_DIR", str(folder.root))
    monkeypatch.setenv("INFRASTRUCTURE_ENV", "production")
    monkeypatch.setattr(manager, "_of_process", Registry())
    return folder


def test_multi_source_configuration_loading(folder: Folder) -> None:
    config = get_config("ai-provider")

    assert isinstance(config, CoreConfig)
    assert isinstance(config, BaseConfig)
    assert get_config("ai-provider") is config
    assert (config.service_name, config.environment) == ("ai-provider", Environment.PRODUCTION)


def test_the_integration_example(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AI_PROVIDER_SERVICES", '{"database-service": "http://database:8010"}')
    config = get_config("ai-provider")

    port = config.get("service.port", 8005)
    log_level = config.get("logging.level", "info")
    openai_config = config.get("providers.openai", {})
    cache_config = config.get_cache_config()
    service_endpoints = config.get_service_endpoints()
    database_service_url = service_endpoints.get("database-service")

    assert (port, log_level) == (8005, "warning")
    assert (openai_config["priority"], openai_config["max_tokens"]) == (1, 4_000)
    assert cache_config["enabled"] is True
    assert (cache_config["ttl"], cache_config["redis_url"]) == (600, "redis://prod-redis:6379/0")
    assert database_service_url == "http://database:8010"


def test_the_variables_of_the_guide(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AI_PROVIDER_PORT": "8006", "AI_PROVIDER_LOG_LEVEL": "debug", "AI_PROVIDER_CACHE_TTL": "301",
        "OPENAI_MAX_TOKENS": "4001", "ANTHROPIC_PRIORITY": "2",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    config = get_config("ai-provider")

    assert config.get("service.port") == 8006
    assert config.get("logging.level") == "debug"
    assert config.get("cache.ttl") == 301
    assert config.get("providers.openai.max_tokens") == 4001
    assert config.get("providers.anthropic.priority") == 2


def test_the_docker_secrets_of_the_guide(folder: Folder) -> None:
    for name in ("openai_api_key", "anthropic_api_key", "database_password"):
        (folder.secrets / name).write_text(f"secret-of-{name}\n")
    config = folder.config()

    assert config.get("providers.openai.api_key").get_secret_value() == "secret-of-openai_api_key"
    assert config.get("providers.anthropic.api_key").get_secret_value() == "secret-of-anthropic_api_key"
    assert config.get_database_config()["password"] == "secret-of-database_password"


async def hot_reload(folder: Folder) -> None:
    logger, config, cache = get_logger("ai-provider", "main"), get_config("ai-provider"), CoreCache("ai-provider")
    assert config.get("cache.ttl") == 600
    folder.write(PRODUCTION.replace("warning", "error").replace("600", "601"), "production")

    # Monitor configuration files for changes
    config_manager = SharedInfraConfigManager()

    # Reload configuration without service restart
    config_manager.reload_config("ai-provider")

    # Apply new settings
    logger.set_log_level(config.get("logging.level"))
    cache.update_ttl(config.get("cache.ttl"))

    assert (config.get("logging.level"), config.get("cache.ttl")) == ("error", 601)


@pytest.mark.anyio
async def test_the_hot_reload_example(folder: Folder) -> None:
    try:
        await hot_reload(folder)
    finally:
        get_logger("ai-provider", "main").set_log_level("info")


def test_load_config_returns_what_all_layers_say_and_refuses_what_is_bad(folder: Folder) -> None:
    config = get_config("ai-provider")

    loaded = config.load_config()
    assert loaded["cache"]["ttl"] == 600
    assert loaded["providers"]["enabled"] == ["openai", "anthropic", "google", "deepseek"]
    assert loaded["service"]["version"] == "1.0.0"
    loaded["cache"]["ttl"] = 5
    assert config.get("cache.ttl") == 600

    folder.write(SERVICE.replace("- openai", "- opnai"))
    with pytest.raises(ConfigError, match=r"providers\.enabled"):
        config.load_config()
    assert config.get("cache.ttl") == 600


def test_the_environment_can_be_given_in_place_of_the_variable(folder: Folder) -> None:
    config = CoreConfig("ai-provider", Environment.DEVELOPMENT)

    assert config.environment is Environment.DEVELOPMENT
    assert config.get("cache.ttl") == 300


def test_another_service_reads_its_own_folder_and_variables(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    other = folder.root / "other-service"
    other.mkdir()
    (other / "other-service.yml").write_text("cache: {ttl: 5}\n")
    monkeypatch.setenv("OTHER_SERVICE_LOG_LEVEL", "error")

    config = get_config("other-service")

    assert (config.get("cache.ttl"), config.get("logging.level")) == (5, "error")


@pytest.mark.parametrize("key", ["service.name", "service.port", "logging.level", "logging.format"])
def test_what_the_guide_requires_cannot_be_taken_away(folder: Folder, key: str) -> None:
    section, _, field = key.partition(".")
    folder.write(f"{section}: {{{field}: null}}\n")

    with pytest.raises(ConfigError) as caught:
        folder.config().load_config()

    assert caught.value.problems[0].startswith(f"{key}: ")


def test_absent_and_unset_keys_give_the_default(folder: Folder) -> None:
    config = get_config("ai-provider")

    assert config.get("no.such.key", 5) == 5
    assert config.get("redis.url", "none") == "none"
    assert config.get("service.port.deeper") is None
    assert config.get("models.default")[0] == "openai/gpt-5-mini"
