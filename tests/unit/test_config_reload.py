"""A reload: everything or nothing, told to those who follow, the old kept for those who work under it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from infrastructure.core.config_core import Change, CoreConfig, Registry, Settings, SharedInfraConfigManager
from infrastructure.core.config_core.fixed import changed_keys, keeping
from infrastructure.core.error_core import ConfigError
from tests.support.configuration import SERVICE, Folder
from tests.support.logs import caught_log


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 100}\nlimits: {depth: 10}\n")
    return folder


def ttl(config: CoreConfig, value: int, folder: Folder) -> bool:
    """Write a lifetime and reload."""
    folder.write(f"cache: {{ttl: {value}}}\nlimits: {{depth: 10}}\n")
    return config.reloader.reload()


def test_the_manager_reloads_a_service_and_its_configuration_has_the_new_values(folder: Folder) -> None:
    registry = Registry()
    config = registry.get(SERVICE, sources=folder.sources())
    manager = SharedInfraConfigManager(registry)
    assert config.get("cache.ttl") == 100

    folder.write("cache: {ttl: 200}\nlimits: {depth: 10}\n")
    assert config.get("cache.ttl") == 100
    assert manager.reload_config(SERVICE) is True

    assert manager.get_config(SERVICE) is config
    assert config.get("cache.ttl") == 200


@pytest.mark.parametrize(
    ("text", "setting", "code", "words"),
    [
        ("cache: {ttl: 150}\n", "limits.depth", "cut", "begin the file with a line ---"),
        ("cache: {ttl: 1, ttl: 2}\n", "cache.ttl", "doubled", "see `config check`"),
        ("cache: {ttl: 0}\nlimits: {depth: 10}\n", "cache.ttl", "greater_than_equal", "see `config check`"),
        ("cache: {ttl: [\n", "", "not_yaml", "see `config check`"),
        ("cache: {tll: 9}\nlimits: {depth: 10}\n", "cache.tll", "unknown", "see `config check`"),
    ],
)  # fmt: skip
def test_the_line_of_a_refused_reload_says_which_setting_where_and_why(
    folder: Folder, text: str, setting: str, code: str, words: str
) -> None:
    config = folder.config()
    assert config.get("cache.ttl") == 100
    folder.write(text)
    with caught_log() as log:
        assert not config.reloader.reload()
    assert log.lines[0]["context"] == {"setting": setting, "layer": "ai-provider.yml", "code": code}
    assert words in log.lines[0]["message"]


def test_a_reload_that_changes_several_settings_is_one_line_that_names_them(folder: Folder) -> None:
    config = folder.config()
    assert config.get("cache.ttl") == 100
    folder.write("cache: {ttl: 200}\nlimits: {depth: 20}\n")
    with caught_log() as log:
        assert config.reloader.reload()
    assert (log.line["level"], log.line["context"]["changed"]) == ("INFO", ["limits.depth", "cache.ttl"])


def test_a_snapshot_that_was_taken_never_changes(folder: Folder) -> None:
    config = folder.config()
    taken = config.snapshot

    assert ttl(config, 200, folder)

    assert taken.settings.cache.ttl == 100
    assert config.snapshot.settings.cache.ttl == 200
    assert taken.version != config.snapshot.version


def test_subscribers_are_told_after_the_swap_of_what_changed_and_a_failing_one_hurts_nobody(folder: Folder) -> None:
    config = folder.config()
    heard: list[tuple[Change, int]] = []

    def fail(_: Change) -> None:
        raise RuntimeError("planted")

    config.reloader.subscribe(fail)
    undo = config.reloader.subscribe(lambda change: heard.append((change, config.settings.cache.ttl)))
    assert config.get("cache.ttl") == 100

    assert ttl(config, 200, folder)
    assert ttl(config, 200, folder)  # nothing changed: nobody is told
    undo()
    assert ttl(config, 300, folder)

    [(change, seen)] = heard
    assert (change.old.cache.ttl, change.new.cache.ttl, seen) == (100, 200, 200)
    assert change.keys == ("cache.ttl",)
    assert config.get_metrics()["subscriber_failures"] == 2


def test_a_check_that_cannot_build_from_the_candidate_keeps_the_old(folder: Folder) -> None:
    config = folder.config()
    assert config.get("cache.ttl") == 100

    def refuse(settings: Settings) -> None:
        if settings.cache.ttl == 200:
            raise ConfigError(["cache.ttl: not today"])
        if settings.cache.ttl == 300:
            raise ZeroDivisionError

    undo = config.reloader.add_check(refuse)

    assert not ttl(config, 200, folder)
    assert config.reloader.counts.problems == ("cache.ttl: not today",)
    assert not ttl(config, 300, folder)
    assert "ZeroDivisionError" in config.reloader.counts.problems[0]
    assert config.get("cache.ttl") == 100
    undo()
    assert ttl(config, 300, folder)


def test_a_file_that_is_away_for_a_moment_is_waited_for_by_whoever_asks_for_a_reload(folder: Folder) -> None:
    config = folder.config()
    seen: list[int] = []
    config.reloader.subscribe(lambda change: seen.append(change.new.cache.ttl))
    assert config.get("cache.ttl") == 100

    folder.path().unlink()
    writer = threading.Timer(0.15, lambda: folder.write("cache: {ttl: 200}\nlimits: {depth: 10}\n"))
    writer.start()
    assert config.reloader.reload()
    writer.join(10)

    assert (config.get("cache.ttl"), seen) == (200, [200])


def test_reloads_that_are_asked_for_at_once_come_one_after_the_other(folder: Folder) -> None:
    config = folder.config()
    assert config.get("cache.ttl") == 100
    folder.write("cache: {ttl: 200}\nlimits: {depth: 10}\n")
    told: list[Change] = []
    config.reloader.subscribe(told.append)

    threads = [threading.Thread(target=config.reloader.reload) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    metrics = config.get_metrics()
    assert (metrics["reloads"], metrics["reload_failures"], metrics["reloads_without_change"]) == (6, 0, 5)
    assert [change.new.cache.ttl for change in told] == [200]


def test_what_was_replaced_is_retired_when_its_last_work_ends_and_not_before(folder: Folder) -> None:
    config = folder.config()
    retired: list[int] = []
    config.reloader.on_retired(lambda settings: retired.append(settings.cache.ttl))

    with config.reloader.hold() as first, config.reloader.hold():
        assert ttl(config, 200, folder)
        assert ttl(config, 300, folder)  # nobody works under 200
        assert retired == [200]
        with config.reloader.hold() as third:
            assert (first.settings.cache.ttl, third.settings.cache.ttl) == (100, 300)
        assert retired == [200]
        assert config.get_metrics()["snapshots_in_use"] == 1
    assert retired == [200, 100]
    assert config.get_metrics()["snapshots_in_use"] == 0


def test_a_process_keeps_what_it_was_built_from_and_tells_what_waits_for_the_next_start(folder: Folder) -> None:
    config = folder.config()
    config.reloader.keep_fixed()

    folder.write("cache: {ttl: 200}\nlimits: {depth: 10}\nservice: {port: 9000}\njobs: {lease_s: 60, deadline_s: 60}\n")

    assert config.reloader.reload()
    assert config.get("service.port") == 8005
    assert (config.get("jobs.lease_s"), config.get("jobs.deadline_s"), config.get("cache.ttl")) == (15, 60, 200)
    assert set(config.get_metrics()["waiting_for_restart"]) == {"service.port", "jobs.lease_s"}


def test_what_is_kept_is_exactly_what_the_schema_calls_fixed(folder: Folder) -> None:
    running = folder.config().settings
    folder.write(
        "redis: {prefix: other}\nworker: {concurrency: 5, memory_mb: 500}\nflower: {port: 1}\n"
        "cache: {dir: /x, ttl: 1}\nlogging: {output_dir: /l, level: error}\n"
    )
    candidate = folder.config().settings

    kept, waiting = keeping(running, candidate)

    assert set(waiting) == {"redis.prefix", "worker.concurrency", "flower.port", "cache.dir", "logging.output_dir"}
    changed = set(changed_keys(running, kept)) - {"version"}
    assert changed == {"worker.memory_mb", "cache.ttl", "logging.level", "limits.depth"}


def test_metrics_tell_of_loads_sources_reloads_and_failures_and_hold_no_secret(folder: Folder) -> None:
    (folder.secrets / "openai_api_key").write_text("sk-planted-secret")
    registry = Registry()
    config = registry.get(SERVICE, sources=folder.sources({"LOG_LEVEL": "error", "AI_PROVIDER_PORT": "1"}))
    manager = SharedInfraConfigManager(registry)
    ttl(config, 200, folder)
    ttl(config, 0, folder)
    config.reloader.reload()

    metrics = manager.get_metrics()[SERVICE]

    assert (metrics["reloads"], metrics["reload_failures"], metrics["loads"]) == (3, 2, 1)
    assert metrics["sources"][str(folder.path())] == 2
    assert (metrics["sources"]["variable"], metrics["sources"]["secret"]) == (2, 1)
    assert metrics["load_ms"]["slowest"] >= metrics["load_ms"]["last"] > 0
    assert "cache.ttl" in metrics["last_failure"]["problems"][0]
    assert "sk-planted" not in repr(metrics)


def test_a_manager_tells_of_a_configuration_that_was_never_good(folder: Folder) -> None:
    registry = Registry()
    registry.get(SERVICE, sources=folder.sources())
    folder.write("cache: {ttl: 0}\n")
    manager = SharedInfraConfigManager(registry)

    assert manager.reload_config(SERVICE) is False

    assert manager.get_metrics() == {SERVICE: {"version": None, "reload_failures": 1}}


def test_readers_in_other_threads_never_see_parts_of_two_configurations(folder: Folder) -> None:
    config = folder.config()
    assert config.get("cache.ttl") == 100
    folder.write("cache: {ttl: 10, l1_entries: 10}\nlimits: {depth: 10}\n")
    assert config.reloader.reload()
    stopping, mixtures, looks = threading.Event(), [], [0]

    def look() -> None:
        while not stopping.is_set():
            section, settings = config.get("cache"), config.settings
            looks[0] += 1
            if section["ttl"] != section["l1_entries"] or settings.cache.ttl != settings.cache.l1_entries:
                mixtures.append((section, settings))

    threads = [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(11, 21):
        folder.write(f"cache: {{ttl: {number}, l1_entries: {number}}}\nlimits: {{depth: 10}}\n")
        assert config.reloader.reload()
    stopping.set()
    for thread in threads:
        thread.join(10)

    assert mixtures == []
    assert looks[0] > 20
