"""A configuration folder of a test's own, and the ways in which people and programs replace files."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from infrastructure.core.config_core import CoreConfig, Sources

SERVICE = "ai-provider"


class Folder:
    """`CONFIG_DIR` with the service's folder in it, and a folder of secrets."""

    def __init__(self, root: Path) -> None:
        self.root = root / "config"
        self.secrets = root / "secrets"
        self.service = self.root / SERVICE
        self.service.mkdir(parents=True)
        self.secrets.mkdir()

    def path(self, name: str = SERVICE) -> Path:
        """Return the path of a layer's file: default, an environment, or the service."""
        return self.service / f"{name}.yml"

    def write(self, text: str | bytes, name: str = SERVICE) -> Path:
        """Write a layer's file in place."""
        path = self.path(name)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def sources(self, environ: Mapping[str, str] | None = None, *, common: Mapping[str, str] | None = None) -> Sources:
        """Return this folder's sources, with these variables and no others."""
        sources = Sources(environ=environ or {}, config_dir=self.root, secrets_dir=self.secrets)
        if common is None:
            return sources
        return Sources(environ=environ or {}, config_dir=self.root, secrets_dir=self.secrets, common=common)

    def config(self, environ: Mapping[str, str] | None = None) -> CoreConfig:
        """Return a configuration of this folder, not yet read."""
        return CoreConfig(SERVICE, sources=self.sources(environ))


def in_place(path: Path, text: str) -> None:
    """Rewrite a file as `cp` and a shell's `>` do."""
    path.write_text(text, "utf-8")


def rename_over(path: Path, text: str) -> None:
    """Replace a file as most editors do."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_text(text, "utf-8")
    draft.rename(path)


def delete_and_create(path: Path, text: str) -> None:
    """Replace a file by taking it away first."""
    path.unlink()
    path.write_text(text, "utf-8")


def swap_link(path: Path, text: str) -> None:
    """Replace the folder's files as Kubernetes does: each a link through `..data`, which is swapped for another folder."""
    folder, data = path.parent, path.parent / "..data"
    number = len([entry for entry in folder.iterdir() if entry.name.startswith("..version")])
    version = folder / f"..version_{number}"
    version.mkdir()
    (version / path.name).write_text(text, "utf-8")
    draft = folder / "..data_new"
    draft.symlink_to(version.name)
    draft.rename(data)
    if not path.is_symlink():
        path.unlink()
        path.symlink_to(Path("..data") / path.name)


WAYS: dict[str, Callable[[Path, str], None]] = {
    "rewritten in place": in_place,
    "renamed over": rename_over,
    "link swapped": swap_link,
    "deleted and created": delete_and_create,
}


def without_permission(path: Path) -> Callable[[], None]:
    """Make a file unreadable for this process; returns what undoes it. Root reads everything, so it steps down."""
    path.chmod(0)
    if os.geteuid() != 0:
        return lambda: path.chmod(0o600)
    os.seteuid(65_534)

    def undo() -> None:
        os.seteuid(0)
        path.chmod(0o600)

    return undo
