"""The log as the configuration wants it, for the composition root of a process."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

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
    """Yield every secret of a configuration, and the credentials in each URL, as they stand there and decoded."""
    if isinstance(value, SecretStr):
        text = value.get_secret_value()
        if not _is_open(text):
            yield text
        yield from _credentials(text)
    elif isinstance(value, str):
        yield from _credentials(value)
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_in(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from secrets_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from secrets_in(item)


def _is_open(text: str) -> bool:
    """Say whether a text is a URL without credentials: no secret, and libraries name it when they connect."""
    return "://" in text and not any(mark in text for mark in "@?#")


def _credentials(text: str) -> Iterator[str]:
    try:
        parts = urlsplit(text if "://" in text else "")
        words = [parts.username if parts.password is None else parts.password, *parse_qs(parts.query).values()]
    except ValueError:
        return
    for word in words:
        for one in word if isinstance(word, list) else [word or ""]:
            yield one
            yield unquote(one)
            yield quote(one, safe="")
