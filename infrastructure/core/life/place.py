"""Where the signs of life of this user's processes on this machine are."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path


def signs_folder() -> Path:
    """Return the folder; it may not exist yet."""
    return Path(tempfile.gettempdir()) / f"ai-provider-{os.getuid()}"


def make_private(folder: Path) -> None:
    """Make the folder where it is missing, for this user only.

    Raises:
        OSError: it cannot be made, or is somebody else's, who could then say that a dead process lives.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"expected {folder} to be a folder of this user, got another's")
    folder.chmod(0o700)


def remove_leftovers(folder: Path) -> None:
    """Remove the signs of processes that are no more: those that were killed could not do it themselves."""
    for path in folder.glob("*-*.json"):
        pid = path.stem.rpartition("-")[2]
        if pid.isdigit() and not exists(int(pid)):
            path.unlink(missing_ok=True)


def exists(pid: int) -> bool:
    """Say whether there is a process of this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def born(pid: int) -> str:
    """Return what tells a process from a later one of the same id: the tick of its start, empty where the system tells none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii", "replace").rpartition(") ")[2].split()[19]
    except (OSError, IndexError):
        return ""
