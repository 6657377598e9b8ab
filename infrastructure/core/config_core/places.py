"""What else of the environment the service uses: the data and cache folders, the client's defaults, the children's variables."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

from infrastructure.core.config_core.faults import Fault
from infrastructure.core.config_core.settings import Settings
from infrastructure.core.error_core import ConfigError


@dataclass(frozen=True, slots=True)
class ClientDefaults:
    """Where the command line finds the service when it is not told: `AI_PROVIDER_URL`, `AI_PROVIDER_API_KEY`."""

    url: str | None
    api_key: str | None


def client_defaults(environ: Mapping[str, str] | None = None) -> ClientDefaults:
    """Read the two variables of the client."""
    environ = os.environ if environ is None else environ
    return ClientDefaults(environ.get("AI_PROVIDER_URL") or None, environ.get("AI_PROVIDER_API_KEY") or None)


def data_dir(settings: Settings, environ: Mapping[str, str] | None = None) -> Path:
    """Return the folder of the embedded server's data and the HMAC secret; it may not exist yet."""
    if settings.service.data_dir:
        return Path(settings.service.data_dir).expanduser().absolute()
    environ = os.environ if environ is None else environ
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "ai-provider"
    return Path(environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "ai-provider"


def use_cache_dir(settings: Settings, environ: MutableMapping[str, str] | None = None) -> None:
    """Make `cache.dir` the folder where libraries keep what may be lost (`XDG_CACHE_HOME`); before they are imported.

    Raises:
        ConfigError: it cannot be made, or nobody may write there.
    """
    if not settings.cache.dir:
        return
    folder = Path(settings.cache.dir).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as exc:
        fault = Fault(f"expected a folder that can be written, {exc.strerror}", key="cache.dir", code="unwritable")
        raise ConfigError([fault]) from exc
    (os.environ if environ is None else environ)["XDG_CACHE_HOME"] = str(folder)


def child_environment(overrides: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment for a child, with `overrides` on top."""
    return {**os.environ, **overrides}
