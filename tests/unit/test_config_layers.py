"""Which of six layers wins: every combination of present ones, for every kind of value."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from infrastructure.core.config_core.build import load_from
from infrastructure.core.config_core.trees import find, tree_of
from tests.support.configuration import Folder

KINDS: dict[str, tuple[str, str, list[Any]]] = {
    "text": ("redis.prefix", "AI_PROVIDER_REDIS_PREFIX", ["one", "two", "three", "four", "five", "six"]),
    "integer": ("worker.memory_mb", "AI_PROVIDER_WORKER_MEMORY_MB", [401, 402, 403, 404, 405, 406]),
    "number": ("jobs.deadline_s", "AI_PROVIDER_JOBS_DEADLINE_S", [1.5, 2.5, 3.5, 4.5, 5.5, 6.5]),
    "truth": ("cache.enabled", "AI_PROVIDER_CACHE_ENABLED", [False, True, False, True, False, False]),
    "list": (
        "providers.openai.models", "AI_PROVIDER_PROVIDERS_OPENAI_MODELS", [[f"m{n}", "x*"] for n in range(6)],
    ),
}  # fmt: skip
FILES = ("default", "production", "ai-provider")
COMMON = "COMMON_OF_TEST"


def as_text(value: Any) -> str:
    """Return a value as a variable holds it."""
    return ",".join(value) if isinstance(value, list) else str(value).lower()


def write_layers(folder: Folder, key: str, variable: str, values: dict[int, Any]) -> dict[str, str]:
    """Write the present layers; return the variables."""
    environ = {"INFRASTRUCTURE_ENV": "production"}
    for number, value in values.items():
        if number < len(FILES):
            tree: Any = value
            for part in reversed(key.split(".")):
                tree = {part: tree}
            folder.write(yaml.safe_dump(tree), FILES[number])
        elif number == 3:
            environ[variable] = as_text(value)
        elif number == 4:
            (folder.secrets / variable.lower()).write_text(as_text(value) + "\n")
        else:
            environ[COMMON] = as_text(value)
    return environ


def origin(folder: Folder, number: int, variable: str) -> str:
    """Return what names a layer."""
    if number < len(FILES):
        return str(folder.path(FILES[number]))
    return [f"variable {variable}", f"secret {folder.secrets / variable.lower()}", f"variable {COMMON}"][number - 3]


@pytest.mark.parametrize("kind", KINDS)
def test_in_each_of_64_combinations_the_highest_layer_wins_and_is_named(kind: str, tmp_path: Path) -> None:
    key, variable, values = KINDS[kind]
    for present in itertools.product((False, True), repeat=6):
        root = tmp_path / "".join("01"[one] for one in present)
        folder = Folder(root)
        said = {number: values[number] for number, there in enumerate(present) if there}
        environ = write_layers(folder, key, variable, said)

        loaded = load_from(folder.sources(environ, common={COMMON: key}))

        built_in = load_from(Folder(root / "empty").sources()).settings
        expected = values[max(said)] if said else find(tree_of(built_in), key)
        assert find(tree_of(loaded.settings), key) == expected, present
        if said:
            assert loaded.origins[key] == origin(folder, max(said), variable), present
            layers = [where for _, where in loaded.said[key] if where != "built-in"]
            assert layers == [origin(folder, number, variable) for number in sorted(said)], present
        else:
            assert loaded.origins.get(key, "built-in") == "built-in"


def test_the_shipped_default_file_says_what_is_built_in(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[2] / "config" / "ai-provider" / "default.yml"
    folder = Folder(tmp_path)
    bare = load_from(folder.sources()).settings
    folder.write(shipped.read_bytes(), "default")

    assert load_from(folder.sources()).settings.version == bare.version


def test_a_table_in_a_variable_is_json_and_one_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    environ = {
        "AI_PROVIDER_MODELS": orjson.dumps({"m": ["openai/x"]}).decode(),
        "AI_PROVIDER_SERVICES": orjson.dumps({"database-service": "http://db:8010"}).decode(),
        "AI_PROVIDER_PROVIDERS_ENABLED": "openai, google",
    }
    settings = load_from(Folder(tmp_path).sources(environ)).settings

    assert settings.models == {"m": ("openai/x",)}
    assert settings.services == {"database-service": "http://db:8010"}
    assert settings.enabled == ("openai", "google")


def test_common_variables_set_the_keys_that_the_guide_names(tmp_path: Path) -> None:
    environ = {"DATABASE_URL": "postgres://u:p@db/x", "CACHE_DIR": "/c", "LOG_OUTPUT_DIR": "/l", "LOG_LEVEL": "debug"}
    config = Folder(tmp_path).config({**environ, "REDIS_URL": "redis://h:1"})

    assert config.get_database_config()["url"] == "postgres://u:p@db/x"
    assert config.get_cache_config()["dir"] == "/c"
    assert config.get_cache_config()["redis_url"] == "redis://h:1"
    assert (config.get("logging.output_dir"), config.get("logging.level")) == ("/l", "debug")


def test_secrets_are_read_through_links_out_of_their_folder_and_from_files_that_variables_name(tmp_path: Path) -> None:
    folder, elsewhere = Folder(tmp_path), tmp_path / "elsewhere"
    elsewhere.write_text("sk-behind-a-link\n")
    (folder.secrets / "openai_api_key").symlink_to(elsewhere)
    (tmp_path / "named").write_text("sk-ant-named")
    (folder.secrets / "database_password").write_text("hunter2")
    (folder.secrets / "of_another_program").write_text("x")

    config = folder.config({"ANTHROPIC_API_KEY_FILE": str(tmp_path / "named")})

    assert config.get("providers.openai.api_key").get_secret_value() == "sk-behind-a-link"
    assert config.get("providers.anthropic.api_key").get_secret_value() == "sk-ant-named"
    assert config.get_database_config()["password"] == "hunter2"
    assert "hunter2" not in repr(config.get("database"))
