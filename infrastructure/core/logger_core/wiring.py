"""The log as the configuration wants it, for the composition root of a process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, SecretStr

from infrastructure.core.logger_core.manager import configure_logging, logger_manager

if TYPE_CHECKING:
    from infrastructure.core.config_core.settings import Settings


def configure_process(settings: Settings, *, kind: str) -> None:
    """Set up the log of a whole process of a kind (`web`, `worker`): level, format, files, secrets to keep out."""
    configure_logging(
        settings.service.name,
        level=settings.logging.level,
        output_format=settings.logging.format,
        service_id=settings.service.id,
        output_dir=settings.logging.output_dir,
        kind=kind,
        secrets=secrets_in(settings),
        whole_process=True,
    )


def apply_settings(settings: Settings) -> None:
    """Take over what a reload may change: the level, the stream's format, and which secrets there are."""
    logger_manager.set_log_level(settings.logging.level)
    logger_manager.output_format = settings.logging.format
    logger_manager.hide(secrets_in(settings))


def secrets_in(value: Any) -> Iterator[str]:
    """Yield every secret of a configuration, and the password of each that is a URL."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        yield text
        yield from _password(text)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_in(item)


def _password(text: str) -> Iterator[str]:
    try:
        password = urlsplit(text).password if "://" in text else None
    except ValueError:
        return
    if password:
        yield password
