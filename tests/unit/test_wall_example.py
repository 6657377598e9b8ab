"""The example of a wall of providers, and the port that it stands on."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from api.cli.errors import CommandFailed
from api.cli.stack import sandbox_port
from infrastructure.core.config_core import Settings, load, sandbox_wanted
from tests.support.configuration import Folder
from workers.jobs.routing import candidates

CONFIG = Path(__file__).parents[2] / "config/ai-provider"


def test_the_wall_is_a_configuration_whose_providers_are_instances_of_the_sandbox_at_its_port(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    where = folder.root / "ai-provider"
    for source, name in ((CONFIG / "default.yml", "default.yml"), (CONFIG / "examples/wall.yml", "ai-provider.yml")):
        shutil.copy(source, where / name)
    settings = load({"CONFIG_DIR": str(folder.root)}).settings
    assert list(settings.in_use()) == ["quick", "cheap", "last"]
    assert sandbox_wanted(settings)
    bases = {name: its.base_url for name, its in settings.in_use().items()}
    port = settings.sandbox.port
    assert bases == {
        "quick": f"http://127.0.0.1:{port}/p/quick/v1",
        "cheap": f"http://127.0.0.1:{port}/p/cheap/v1",
        "last": f"http://127.0.0.1:{port}/p/last",
    }
    assert [one.provider for one in candidates(settings, "default")] == ["quick", "cheap", "last"]
    priced = [settings.providers[one.provider].prices.get(one.model) for one in candidates(settings, "default")]
    assert None not in priced


def test_the_sandbox_listens_where_it_is_told_to_or_says_that_the_port_is_taken() -> None:
    def at(port: int) -> int:
        return sandbox_port(Settings.model_validate({"sandbox": {"port": port}}))

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        with pytest.raises(CommandFailed, match=f"port {port} of 127.0.0.1 is taken; sandbox.port"):
            at(port)
        assert at(0) not in {0, port}
    assert at(port) == port
