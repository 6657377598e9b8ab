"""What the log says of the configuration's life: keys and layers, never values."""

from __future__ import annotations

from collections.abc import Sequence

from infrastructure.core.config_core.faults import Fault
from infrastructure.core.config_core.snapshot import Snapshot
from infrastructure.core.logger_core import CoreLogger, get_logger

LISTED = 20


class Reports:
    """Writes the lines; the logger is looked up at the first one, so that reading a configuration needs no log."""

    def __init__(self, service: str) -> None:
        self._service = service

    def changed(self, old: Snapshot, new: Snapshot, keys: Sequence[str]) -> None:
        """Tell of a swap."""
        context = {"old_version": old.version, "new_version": new.version, "count": len(keys)}
        self._log().info("Configuration has changed", context={**context, "changed": list(keys[:LISTED])})
        for key in keys[:LISTED]:
            origin = new.loaded.origins.get(key, "default")
            self._log().debug("Setting has changed", context={"setting": key, "layer": _word(origin)})

    def refused(self, problems: Sequence[str]) -> None:
        """Tell of each fault of a configuration that was not taken."""
        for problem in problems[:LISTED]:
            fault = problem if isinstance(problem, Fault) else Fault(problem)
            context = {"setting": fault.key, "layer": _word(fault.layer), "code": fault.code}
            if fault.code == "cut":
                self._log().error(
                    "Configuration was refused, the old one stays: the file may have been cut while it was written; if its "
                    "change is meant, begin the file with a line --- and end it with a line ...",
                    context=context,
                )
            else:
                self._log().error("Configuration was refused, the old one stays: see `config check`", context=context)

    def waits(self, keys: Sequence[str]) -> None:
        """Tell which settings wait for the next start."""
        for key in keys[:LISTED]:
            self._log().warning("Setting takes effect at the next start", context={"setting": key})

    def near_miss(self, variable: str, near: str) -> None:
        """Tell of a variable that sets nothing and is nearly one that would."""
        self._log().warning(
            "A variable sets nothing, and is nearly a setting's", context={"setting": variable, "name": near}
        )

    def retired(self, version: str) -> None:
        """Tell that nobody works under a configuration any more that was replaced."""
        self._log().debug("Configuration is retired", context={"version": version})

    def subscriber_failed(self, exc: Exception) -> None:
        """Tell that something did not follow a change."""
        self._log().error("A subscriber of the configuration failed", exc=exc)

    def _log(self) -> CoreLogger:
        return get_logger(self._service, "config")


def _word(layer: str) -> str:
    """Return a layer as one word: a file's name, or `variable:AI_PROVIDER_PORT`."""
    if not layer.startswith(("variable ", "secret ")):
        return layer.replace(" ", "-") if "/" not in layer else layer.rpartition("/")[2]
    kind, _, name = layer.partition(" ")
    return f"{kind}:{name.rpartition('/')[2]}"
