"""The secret of the service."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ConfigError
from infrastructure.core.service_secret import hmac_secret


def kept_in(folder: Path) -> Settings:
    return Settings.model_validate({"service": {"data_dir": str(folder)}})


def test_it_is_made_once_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "data"
    first = hmac_secret(kept_in(folder))
    assert hmac_secret(kept_in(folder)) == first
    assert len(first) == 64
    assert (folder / "hmac.key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in folder.iterdir()] == ["hmac.key"]


def test_processes_that_start_together_agree_on_one(tmp_path: Path) -> None:
    code = (
        "import sys; from infrastructure.core import service_secret as secret; "
        "import infrastructure.core.config_core as c; print('ready', flush=True); sys.stdin.readline(); "
        f"print(secret.hmac_secret(c.Settings.model_validate({{'service': {{'data_dir': {str(tmp_path)!r}}}}})).hex())"
    )
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    secrets = {process.communicate(timeout=120)[0] for process in started}
    assert len(secrets) == 1


def test_the_configured_one_wins(tmp_path: Path) -> None:
    settings = Settings.model_validate({"service": {"data_dir": str(tmp_path), "hmac_secret": "s" * 32}})
    assert hmac_secret(settings) == b"s" * 32
    assert list(tmp_path.iterdir()) == []


def test_a_short_one_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match=r"service\.hmac_secret: expected at least 32 characters, got 5") as failure:
        hmac_secret(Settings.model_validate({"service": {"hmac_secret": "s3cre"}}))
    assert "s3cre" not in str(failure.value)


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    hmac_secret(kept_in(tmp_path))
    (tmp_path / "hmac.key").chmod(0o644)
    with pytest.raises(ConfigError, match="only its owner can read"):
        hmac_secret(kept_in(tmp_path))


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be kept there"):
        hmac_secret(kept_in(tmp_path / "file" / "data"))
