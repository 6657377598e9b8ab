"""The store's scripts as text: `scripts/{name}.lua` with the parts that its `-- include:` lines name."""

from __future__ import annotations

import functools
import re
from importlib.resources import files

NAMES = (
    "submit", "page", "cancel", "claim", "complete", "give_back", "renew", "retire", "sweep", "expire_due", "ready_count",
    "waiting", "owners",
)  # fmt: skip
_INCLUDE = re.compile(r"^-- include: ([a-z_]+)$", re.MULTILINE)


@functools.cache
def source(name: str) -> str:
    """Return a script's whole text; read from the package once."""
    folder = files("workers.jobs.store") / "scripts"
    text = (folder / f"{name}.lua").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: (folder / "include" / f"{found[1]}.lua").read_text(encoding="utf-8"), text)
