"""The configuration of a job: a worker that meets a version it does not have reads its files, once for each."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from infrastructure.core.config_core import CoreConfig
from tests.support.configuration import Folder
from workers.runtime.versions import REMEMBERED, Versions

pytestmark = pytest.mark.anyio


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 100}\n")
    return folder


def newer(folder: Folder, ttl: int) -> str:
    """Write a configuration; return the version that a front door has which read it already."""
    folder.write(f"cache: {{ttl: {ttl}}}\n")
    return folder.config().snapshot.version


def reloads(config: CoreConfig) -> int:
    count: int = config.get_metrics()["reloads"]
    return count


async def test_a_worker_that_is_older_than_a_job_reloads_first(folder: Folder) -> None:
    config = folder.config()
    assert config.get("cache.ttl") == 100
    version = newer(folder, 200)

    await Versions(config).catch_up(version)

    assert config.snapshot.version == version
    assert config.get("cache.ttl") == 200


async def test_its_own_version_and_none_at_all_cost_no_reading(folder: Folder) -> None:
    config = folder.config()
    versions = Versions(config)

    await versions.catch_up(config.snapshot.version)
    await versions.catch_up("")

    assert reloads(config) == 0


async def test_a_version_that_no_file_here_has_costs_one_reading_however_many_jobs_have_it(folder: Folder) -> None:
    config = folder.config()
    versions = Versions(config)

    await asyncio.gather(*(versions.catch_up("elsewhere") for _ in range(50)))
    await versions.catch_up("elsewhere")

    assert reloads(config) == 1
    assert config.get("cache.ttl") == 100


async def test_a_bad_file_leaves_the_old_configuration_to_the_job(folder: Folder) -> None:
    config = folder.config()
    assert config.get("cache.ttl") == 100
    folder.write("cache: {ttl: 0}\n")

    await Versions(config).catch_up("newer")

    assert config.get("cache.ttl") == 100


async def test_what_it_remembers_is_bounded(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    config = folder.config()
    versions = Versions(config)
    assert config.snapshot
    monkeypatch.setattr(config.reloader, "reload", lambda: True)

    for number in range(2 * REMEMBERED):
        await versions.catch_up(str(number))

    assert len(versions._read_for) == REMEMBERED
