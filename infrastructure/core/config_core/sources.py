"""Where the configuration of a service is read: its folder, its secrets, its variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from infrastructure.base.base_config import Environment
from infrastructure.core.config_core.faults import Fault

SERVICE = "ai-provider"
REPOSITORY_CONFIG = Path(__file__).resolve().parents[3] / "config"
SECRETS = Path("/run/secrets")
COPIES = 5
COMMON: Mapping[str, str] = {
    "REDIS_URL": "redis.url",
    "DATABASE_URL": "database.url",
    "LOG_LEVEL": "logging.level",
    "LOG_OUTPUT_DIR": "logging.output_dir",
    "CACHE_DIR": "cache.dir",
}
"""Variables that many programs share, and the keys that they set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The places of one service's six layers. `environment` None: as `INFRASTRUCTURE_ENV` says."""

    service: str = SERVICE
    environment: Environment | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    config_dir: Path | None = None
    secrets_dir: Path = SECRETS
    common: Mapping[str, str] = field(default_factory=lambda: COMMON)

    @property
    def folder(self) -> Path:
        """Return the folder of the service's files: below `CONFIG_DIR`, or in the repository."""
        return (self.config_dir or Path(self.environ.get("CONFIG_DIR") or REPOSITORY_CONFIG)) / self.service

    def variables(self) -> dict[str, str]:
        """Return a copy of the variables; another thread may be setting one (libraries do while they are imported)."""
        for _ in range(COPIES - 1):
            with suppress(RuntimeError, KeyError):
                return dict(self.environ)
        return dict(self.environ)

    @property
    def prefix(self) -> str:
        """Return what the service's own variables begin with: `AI_PROVIDER_`."""
        return self.service.upper().replace("-", "_") + "_"

    def files(self, environment: Environment) -> tuple[Path, ...]:
        """Return the files of the first three layers, lowest first."""
        return tuple(self.folder / f"{name}.yml" for name in ("default", environment.value, self.service))

    @property
    def environment_from(self) -> str:
        """Return what names the environment; empty where nothing does."""
        if self.environment is not None:
            return "set in the process"
        return "variable INFRASTRUCTURE_ENV" if self.environ.get("INFRASTRUCTURE_ENV") else ""

    def faults(self) -> list[Fault]:
        """Return what is wrong with the variable `CONFIG_DIR`: a mistyped one must not mean the built-in defaults."""
        given = "" if self.config_dir else self.environ.get("CONFIG_DIR", "")
        if given and not Path(given).is_dir():
            return [Fault("expected a folder, found none", key="CONFIG_DIR", layer="variable")]
        if (
            given
            and not self.folder.is_dir()
            and any((Path(given) / f"{name}.yml").exists() for name in ("default", self.service))
        ):
            fault = f"expected the folder above that of the files: one with {self.service}/ in it"
            return [Fault(fault, key="CONFIG_DIR", layer="variable")]
        return []

    def which_environment(self, problems: list[str]) -> Environment:
        """Return the environment; an unknown name is a fault, and development meanwhile."""
        if self.environment is not None:
            return self.environment
        name = self.environ.get("INFRASTRUCTURE_ENV") or Environment.DEVELOPMENT.value
        try:
            return Environment(name)
        except ValueError:
            expected = f"expected one of {', '.join(Environment)}, got {name!r}"
            problems.append(Fault(expected, key="INFRASTRUCTURE_ENV", layer="variable"))
            return Environment.DEVELOPMENT
