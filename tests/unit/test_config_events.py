"""What a process tells the fleet of its configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.configuration import Folder
from tests.support.waiting import eventually
from workers.jobs import topics
from workers.jobs.config_events import announced
from workers.jobs.routing import resolve_all

pytestmark = pytest.mark.anyio


async def test_changes_and_refusals_are_published_on_the_loop_while_the_block_runs(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 1}\n")
    config = folder.config({"OPENAI_API_KEY": "sk-planted"})
    heard: list[tuple[str, dict[str, Any]]] = []
    assert config.get("cache.ttl") == 1

    with announced(config, lambda topic, data: heard.append((topic, data))):
        folder.write("cache: {ttl: 2}\n")
        config.reloader.reload()
        version = config.snapshot.version
        folder.write("cache: {ttl: 0}\nnope: 1\n")
        config.reloader.reload()
        await eventually(lambda: len(heard) == 2)
    folder.write("cache: {ttl: 3}\n")
    config.reloader.reload()

    assert heard == [
        (topics.CONFIGURATION_CHANGED, {"version": version}),
        (topics.CONFIGURATION_REFUSED, {"problems": 2}),
    ]


async def test_a_configuration_that_never_changes_has_nothing_to_tell() -> None:
    with announced(None, lambda *_: pytest.fail("told")):
        pass


def test_the_trial_routes_every_model(tmp_path: Path) -> None:
    settings = Folder(tmp_path).config({"OPENAI_API_KEY": "sk-planted"}).settings

    routed = resolve_all(settings)

    assert routed.keys() == settings.models.keys()
    assert [candidate.provider for candidate in routed["default"]] == ["openai"]
