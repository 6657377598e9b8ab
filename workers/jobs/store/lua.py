"""Redis scripts as text: `scripts/{name}.lua` of a package with the parts that its `-- include:` lines name."""

from __future__ import annotations

import functools
import re
from importlib.resources import files

STORE = "workers.jobs.store"
NAMES = (
    "submit", "room", "page", "cancel", "claim", "complete", "give_back", "put_back", "promote", "renew", "retire", "sweep", "expire_due", "ready_count",
    "waiting", "owners", "dead_page", "retry",
)  # fmt: skip
_INCLUDE = re.compile(r"^-- include: ([a-z_]+)$", re.MULTILINE)


@functools.cache
def source(name: str, package: str = STORE) -> str:
    """Return a script's whole text; read from its package once. A part is the package's own, or else the store's.

    Parts may include parts.
    """
    folder = files(package) / "scripts"
    text = (folder / f"{name}.lua").read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: _part(found[1], package), text)


def _part(name: str, package: str) -> str:
    own, stores = (files(where) / "scripts" / "include" / f"{name}.lua" for where in (package, STORE))
    text = (own if own.is_file() else stores).read_text(encoding="utf-8")
    return _INCLUDE.sub(lambda found: _part(found[1], package), text)
