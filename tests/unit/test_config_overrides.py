"""`set`: above all layers in this process, until the next reload and no longer."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from infrastructure.core.config_core import reloader
from infrastructure.core.config_core.steady import load_steadily
from infrastructure.core.error_core import ConfigError
from tests.support.configuration import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 100}\nlimits: {depth: 10}\n")
    return folder


def test_an_override_holds_until_the_next_reload_and_survives_none(folder: Folder) -> None:
    config = folder.config()

    config.set("cache.ttl", 7)
    config.set("limits", {"depth": 20, "messages": 5})
    config.set("cache.ttl", 8)

    assert [config.get(key) for key in ("cache.ttl", "limits.depth", "limits.messages")] == [8, 20, 5]
    assert config.snapshot.loaded.origins["cache.ttl"] == "set in the process"
    assert [where for _, where in config.snapshot.loaded.said["cache.ttl"]] == [
        str(folder.path()),
        "set in the process",
    ]
    assert config.get_metrics()["overrides"] == ["cache.ttl", "limits.depth", "limits.messages"]
    assert config.reloader.reload()
    assert [config.get(key) for key in ("cache.ttl", "limits.depth", "limits.messages")] == [100, 10, 4_096]
    assert config.get_metrics()["overrides"] == []


@pytest.mark.parametrize(("key", "value"), [("cache.tll", 5), ("cache.ttl", 0), ("cache", {"ttl": "x"}), ("nope", 1)])
def test_an_override_that_is_no_setting_is_refused_and_changes_nothing(folder: Folder, key: str, value: object) -> None:
    config = folder.config()
    version = config.snapshot.version

    with pytest.raises(ConfigError, match=r"set in the process|no such setting"):
        config.set(key, value)

    assert config.snapshot.version == version


def test_an_override_of_a_tables_entry_keeps_the_others_and_survives_no_reload_either(folder: Folder) -> None:
    folder.write("models: {a: [openai/x], gpt-4.1: [openai/y]}\nlimits: {depth: 10}\n")
    config = folder.config()
    entry = {"input": 1, "output": 2}

    config.set("models.gpt-4.1", ["openai/z"])
    config.set("models.b", ["openai/b"])
    config.set("providers.openai.prices.gpt-4.1", entry)
    entry["input"] = 9

    assert config.get("models") == {"a": ["openai/x"], "gpt-4.1": ["openai/z"], "b": ["openai/b"]}
    config.set("cache.ttl", 5)  # builds from all overrides again
    assert config.get("providers.openai.prices.gpt-4.1.input") == 1
    assert config.get_metrics()["overrides"] == ["models", "providers.openai.prices", "cache.ttl"]
    assert config.reloader.reload()
    assert config.get("models") == {"a": ["openai/x"], "gpt-4.1": ["openai/y"]}
    assert folder.config().get("models.gpt-4.1") == ["openai/y"]  # what was read of the file is as it was, too


def test_a_text_that_cannot_be_written_is_refused_by_set_as_well(folder: Folder) -> None:
    with pytest.raises(ConfigError, match=r"service\.description: expected UTF-8"):
        folder.config().set("service.description", "\ud800")


def test_who_takes_the_first_snapshot_and_who_overrides_at_the_same_time_do_not_wait_for_each_other(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = folder.config()
    holding, loading = threading.Event(), threading.Event()
    load = load_steadily

    def slowly(*args: Any, **kwargs: Any) -> Any:
        loading.set()
        assert holding.wait(10)
        return load(*args, **kwargs)

    def hold() -> None:
        assert loading.wait(10)
        holding.set()
        with config.reloader.hold():
            pass

    monkeypatch.setattr(reloader, "load_steadily", slowly)
    threads = [
        threading.Thread(target=hold, daemon=True),
        threading.Thread(target=config.set, args=("cache.ttl", 5), daemon=True),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert [thread.is_alive() for thread in threads] == [False, False]
    assert config.get("cache.ttl") == 5


def test_a_refused_reload_keeps_the_overrides_too(folder: Folder) -> None:
    config = folder.config()
    config.set("cache.ttl", 7)

    folder.write("cache: {ttl: 0}\nlimits: {depth: 10}\n")

    assert not config.reloader.reload()
    assert config.get("cache.ttl") == 7
