"""What the watcher notices beside a replaced file: what the kernel tells nobody of a folder that is watched."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.core.config_core import CoreConfig, Sources, Watcher
from infrastructure.core.config_core.watcher import look
from tests.support.configuration import SERVICE, Folder
from tests.support.waiting import wait_for

NOTICED_WITHIN_S = 3.0


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 1}\n")
    return folder


@pytest.fixture
def config(folder: Folder) -> Iterator[CoreConfig]:
    """A watched configuration, reached through a link and with variables that name a secret."""
    (folder.root.parent / "link").symlink_to("config")
    (folder.root.parent / "key").write_text("sk-first")
    environ = {"OPENAI_API_KEY_FILE": str(folder.root.parent / "key")}
    sources = Sources(environ=environ, config_dir=folder.root.parent / "link", secrets_dir=folder.secrets)
    config = CoreConfig(SERVICE, sources=sources)
    assert config.get("cache.ttl") == 1
    with Watcher(config.reloader):
        wait_for(lambda: config.get_metrics()["reloads"] >= 1)
        yield config


def becomes(config: CoreConfig, ttl: int) -> None:
    wait_for(lambda: config.get("cache.ttl") == ttl, within_s=NOTICED_WITHIN_S)


def test_another_folder_behind_a_link_is_noticed(folder: Folder, config: CoreConfig) -> None:
    other = folder.root.parent / "release-2" / SERVICE
    other.mkdir(parents=True)
    (other / f"{SERVICE}.yml").write_text("cache: {ttl: 2}\n")
    draft = folder.root.parent / "link.new"
    draft.symlink_to("release-2")
    draft.rename(folder.root.parent / "link")

    becomes(config, 2)


def test_a_secret_that_a_variable_names_is_noticed(folder: Folder, config: CoreConfig) -> None:
    (folder.root.parent / "key").write_text("sk-second")

    wait_for(
        lambda: config.get("providers.openai.api_key").get_secret_value() == "sk-second", within_s=NOTICED_WITHIN_S
    )


def test_a_new_secret_in_the_folder_is_noticed(folder: Folder, config: CoreConfig) -> None:
    (folder.secrets / "ai_provider_cache_ttl").write_text("9")

    becomes(config, 9)


def test_a_file_that_appears_is_noticed_and_one_that_stays_away_is_believed(folder: Folder, config: CoreConfig) -> None:
    folder.write("cache: {ttl: 5}\n", "default")
    folder.path().unlink()

    becomes(config, 5)


def test_a_folder_that_is_deleted_and_made_again_is_followed(folder: Folder, config: CoreConfig) -> None:
    shutil.rmtree(folder.service)
    becomes(config, 300)  # it stays away, and the variable that leads to it was not mistyped: the link is there

    folder.service.mkdir()
    folder.write("cache: {ttl: 7}\n")
    becomes(config, 7)
    folder.write("cache: {ttl: 8}\n")
    becomes(config, 8)


def test_a_file_whose_time_and_length_stay_or_lie_in_the_future_is_noticed(folder: Folder, config: CoreConfig) -> None:
    told = folder.path().stat()
    folder.write("cache: {ttl: 7}\n")
    os.utime(folder.path(), ns=(told.st_atime_ns, told.st_mtime_ns))
    becomes(config, 7)

    folder.write("cache: {ttl: 8}\n")
    os.utime(folder.path(), (4e9, 4e9))
    becomes(config, 8)


def test_a_file_that_a_variable_names_and_is_no_secret_is_not_looked_at(tmp_path: Path) -> None:
    alive, key = tmp_path / "alive", tmp_path / "key"
    alive.touch()
    key.write_text("sk-first")
    environ = {
        "AI_PROVIDER_WORKER_LIVENESS_FILE": str(alive),
        "SSL_CERT_FILE": str(alive),
        "OPENAI_API_KEY_FILE": str(key),
    }
    sources = Folder(tmp_path).sources(environ)
    before = look(sources, [], ["openai"])

    alive.write_text("a worker touches it every five seconds")
    assert look(sources, [], ["openai"]) == before
    key.write_text("sk-second-one")
    assert look(sources, [], ["openai"]) != before


def test_a_slow_writer_is_waited_for(folder: Folder, config: CoreConfig) -> None:
    seen: set[int] = set()
    config.reloader.subscribe(lambda change: seen.add(change.new.cache.ttl))

    def write_slowly() -> None:
        with folder.path().open("w") as file:
            for number in range(10, 16):
                file.seek(0)
                file.write(f"cache: {{ttl: {number}}}\n")
                file.flush()
                threading.Event().wait(0.05)

    write_slowly()
    becomes(config, 15)
    assert len(seen) <= 2


def test_a_watch_ends_within_moments(folder: Folder) -> None:
    config = folder.config()
    assert config.get("cache.ttl") == 1
    watcher = Watcher(config.reloader)
    watcher.start()
    assert config.get_metrics()["watched"]

    watcher.stop()

    assert not config.get_metrics()["watched"]
    assert not any(thread.name == "config-watcher" for thread in threading.enumerate())


def test_a_folder_that_is_not_there_yet_is_watched_all_the_same(tmp_path: Path) -> None:
    sources = Sources(environ={}, config_dir=tmp_path / "later", secrets_dir=tmp_path / "none")
    config = CoreConfig(SERVICE, sources=sources)
    assert config.get("cache.ttl") == 300

    with Watcher(config.reloader):
        wait_for(lambda: config.get_metrics()["reloads"] >= 1)
        sources.folder.mkdir(parents=True)
        (sources.folder / f"{SERVICE}.yml").write_text("cache: {ttl: 4}\n")
        becomes(config, 4)
