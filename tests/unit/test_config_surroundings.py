"""What the machine puts around a configuration: variables, secrets and folders of all kinds, mistyped ones too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infrastructure.core.config_core import CoreConfig, Sources, use_cache_dir
from infrastructure.core.config_core.build import load_from
from infrastructure.core.error_core import ConfigError
from tests.support.configuration import SERVICE, Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def refusal(folder: Folder, environ: dict[str, str] | None = None) -> str:
    """Return why the layers are refused."""
    with pytest.raises(ConfigError) as caught:
        load_from(folder.sources(environ))
    return "\n".join(caught.value.problems)


@pytest.mark.parametrize("names", [("PORT", "SERVICE_PORT"), ("SERVICE_PORT", "PORT")])
def test_of_two_variables_for_one_key_the_short_one_wins_in_whatever_order_they_stand(
    folder: Folder, names: tuple[str, str]
) -> None:
    values = {"PORT": "1001", "SERVICE_PORT": "1002"}
    loaded = load_from(folder.sources({f"AI_PROVIDER_{name}": values[name] for name in names}))

    assert (loaded.settings.service.port, loaded.origins["service.port"]) == (1001, "variable AI_PROVIDER_PORT")


def test_variables_that_hold_nothing_or_blanks_say_nothing(folder: Folder) -> None:
    names = (
        "PORT", "AI_PROVIDER_PORT", "AI_PROVIDER_PROT", "REDIS_URL", "LOG_LEVEL", "OPENAI_API_KEY", "OPENAI_API_KEY_FILE",
        "INFRASTRUCTURE_ENV", "CONFIG_DIR",
    )  # fmt: skip
    loaded = load_from(folder.sources(dict.fromkeys(names, "")))
    assert set(loaded.origins.values()) == {"built-in"}
    loaded = load_from(folder.sources(dict.fromkeys(names[:7], "  ")))
    assert set(loaded.origins.values()) == {"built-in"}


def test_the_cache_folder_is_made_and_libraries_keep_their_files_there(folder: Folder, tmp_path: Path) -> None:
    wanted, environ = tmp_path / "a" / "cache", {"XDG_CACHE_HOME": "/elsewhere"}
    use_cache_dir(folder.config().settings, environ)
    assert environ == {"XDG_CACHE_HOME": "/elsewhere"}
    use_cache_dir(folder.config({"CACHE_DIR": str(wanted)}).settings, environ)
    assert environ == {"XDG_CACHE_HOME": str(wanted)}
    assert list(wanted.iterdir()) == []


def test_a_cache_folder_that_cannot_be_written_is_a_fault(folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as caught:
        use_cache_dir(folder.config({"CACHE_DIR": str(tmp_path / "file" / "below")}).settings, {})
    assert caught.value.problems[0].startswith("cache.dir: expected a folder that can be written")


def test_blanks_around_a_variable_are_not_meant(folder: Folder) -> None:
    config = folder.config({"AI_PROVIDER_REDIS_PREFIX": " mine ", "REDIS_URL": "redis://h:1 "})

    assert (config.get("redis.prefix"), config.get("redis.url")) == ("mine", "redis://h:1")


@pytest.mark.parametrize(
    "name", ["OPENAI_ORG_ID", "OPENAI_API_BASE", "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_KIND", "REDIS_HOST", "PORT"]
)
def test_variables_of_other_programs_change_nothing(folder: Folder, name: str) -> None:
    loaded = load_from(folder.sources({name: "planted"}))

    assert loaded.settings.version == load_from(folder.sources()).settings.version


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("AI_PROVIDER_PROT", "AI_PROVIDER_PORT"),
        ("AI_PROVIDER_CACHE_TLL", "AI_PROVIDER_CACHE_TTL"),
        ("AI_PROVIDER_HMAC_SECRT_FILE", "AI_PROVIDER_HMAC_SECRET"),
        ("AI_PROVIDER_PROVIDERS_OPENAI_API_KEI", "AI_PROVIDER_PROVIDERS_OPENAI_API_KEY"),
    ],
)
def test_a_mistyped_variable_is_refused_with_the_nearest_name(folder: Folder, name: str, near: str) -> None:
    told = refusal(folder, {name: "planted"})

    assert f"{name}: no such setting; did you mean {near}?" in told
    assert "planted" not in told


def test_a_mistyped_secret_is_refused_with_the_nearest_name(folder: Folder) -> None:
    (folder.secrets / "ai_provider_prot").write_text("planted")

    told = refusal(folder)

    assert "ai_provider_prot: no such secret; did you mean ai_provider_port?" in told
    assert "planted" not in told


def test_a_secret_wins_over_a_variable_a_named_file_over_the_folder_and_a_common_variable_over_all(
    folder: Folder,
) -> None:
    named = folder.root / "named"
    named.write_text("sk-named")
    (folder.secrets / "OPENAI_API_KEY").write_text("sk-folder")  # in capitals, as some have it
    (folder.secrets / "redis_url").write_text("redis://secret")
    environ = {"OPENAI_API_KEY": "sk-variable", "AI_PROVIDER_REDIS_URL": "redis://variable"}

    def seen(more: dict[str, str]) -> tuple[str, str]:
        settings = load_from(folder.sources(environ | more)).settings
        key, url = settings.providers["openai"].api_key, settings.redis.url
        assert key is not None
        assert url is not None
        return key.get_secret_value(), url.get_secret_value()

    assert seen({}) == ("sk-folder", "redis://secret")
    assert seen({"OPENAI_API_KEY_FILE": str(named), "REDIS_URL": "redis://common"}) == ("sk-named", "redis://common")


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def an_endless_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_link_to_nowhere(path: Path) -> None:
    path.symlink_to("nowhere")


def emptiness(path: Path) -> None:
    path.write_text(" \n")


def bytes_of_no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe")


def too_much(path: Path) -> None:
    path.write_text("k" * 70_000)


@pytest.mark.parametrize(
    "make", [a_pipe, a_folder, an_endless_device, a_link_to_nowhere, emptiness, bytes_of_no_text, too_much]
)
@pytest.mark.parametrize("named", [False, True])
def test_what_is_no_secret_is_refused_by_key_and_never_waited_for(folder: Folder, make: object, named: bool) -> None:
    path = folder.root / "named" if named else folder.secrets / "openai_api_key"
    make(path)  # type: ignore[operator]

    told = refusal(folder, {"OPENAI_API_KEY_FILE": str(path)} if named else {})

    assert told.startswith("providers.openai.api_key: ")
    assert str(path) in told


def test_a_pipe_in_a_files_place_is_refused_and_never_waited_for(folder: Folder) -> None:
    os.mkfifo(folder.path())

    assert "expected a file, found something else" in refusal(folder)


def test_a_folder_that_is_not_there_or_is_the_wrong_one_is_refused_and_what_was_in_force_stays(folder: Folder) -> None:
    folder.write("cache: {ttl: 5}\n")
    sources = Sources(environ={"CONFIG_DIR": str(folder.root)}, secrets_dir=folder.secrets)
    config = CoreConfig(SERVICE, sources=sources)
    assert config.get("cache.ttl") == 5

    folder.root.rename(folder.root.with_name("elsewhere"))

    assert not config.reloader.reload()
    assert config.get("cache.ttl") == 5
    assert "CONFIG_DIR: expected a folder" in config.reloader.counts.problems[0]
    inner = folder.root.with_name("elsewhere") / SERVICE
    wrong = Sources(environ={"CONFIG_DIR": str(inner)}, secrets_dir=folder.secrets)
    with pytest.raises(ConfigError, match="one with ai-provider/ in it"):
        load_from(wrong)


@pytest.mark.parametrize("filler", ["", "#" + "[" * 1_001])  # read by the fast loader and by the safe one
@pytest.mark.parametrize("mark", ["*", "!", "!!", "&", "!x!"])
def test_a_password_that_is_a_mark_of_yaml_never_stands_in_a_message(folder: Folder, mark: str, filler: str) -> None:
    folder.write(f"database: {{password: {mark}planted x}}\nflower: {{port: {mark}planted y}}\n{filler}\n")

    assert "planted" not in refusal(folder)


@pytest.mark.parametrize(("name", "origin"), [("production", "variable INFRASTRUCTURE_ENV"), ("", None)])
def test_the_environment_has_an_origin_too_and_keeps_it(folder: Folder, name: str, origin: str | None) -> None:
    config = folder.config({"INFRASTRUCTURE_ENV": name})

    assert config.snapshot.loaded.origins.get("environment") == origin
    config.set("cache.ttl", 9)
    assert config.snapshot.loaded.origins.get("environment") == origin
