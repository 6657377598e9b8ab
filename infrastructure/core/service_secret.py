"""The service's own secret, under which API keys are kept and webhook secrets derived: configured, or kept in the data folder."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from infrastructure.core.config_core import Settings, data_dir
from infrastructure.core.error_core import ConfigError

FILE = "hmac.key"
MIN_CHARACTERS = 32


def hmac_secret(settings: Settings, *, make: bool = True) -> bytes:
    """Return the service's HMAC secret; the first call on a new data folder makes it, where it is to.

    Raises:
        ConfigError: it is too short or missing, or the file cannot be read, written or kept private.
    """
    given = settings.service.hmac_secret
    if given is not None:
        return _checked(given.get_secret_value().encode(), "service.hmac_secret")
    path = data_dir(settings) / FILE
    try:
        if make and not path.exists():
            _make(path)
        if path.stat().st_mode & 0o077:
            raise ConfigError([f"{path}: expected a file that only its owner can read (chmod 600)"])
        return _checked(path.read_bytes().strip(), str(path))
    except OSError as exc:
        raise ConfigError([f"{path}: the secret of the service cannot be kept there: {exc.strerror}"]) from exc


def _make(path: Path) -> None:
    """Write a new secret whole, then give it its name, unless another process was faster: nobody reads half a file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{FILE}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_hex(32).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()


def _checked(secret: bytes, origin: str) -> bytes:
    if len(secret) < MIN_CHARACTERS:
        raise ConfigError([f"{origin}: expected at least {MIN_CHARACTERS} characters, got {len(secret)}"])
    return secret
