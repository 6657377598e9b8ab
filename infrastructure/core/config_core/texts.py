"""Rules for texts, whichever key they stand under: they can be written as UTF-8; an address of Redis or of a database is one, the HMAC secret is long enough."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from infrastructure.core.config_core.faults import Fault, did_you_mean
from infrastructure.core.redis_sentinel.address import FORM, is_sentinel, parse

HMAC_CHARACTERS = 32
REDIS_OPTIONS = frozenset({
    "db", "username", "password", "client_name", "protocol", "health_check_interval", "max_connections",
    "socket_connect_timeout", "socket_keepalive", "socket_timeout",
})  # fmt: skip
TLS_OPTIONS = frozenset({
    "ssl_ca_certs", "ssl_ca_data", "ssl_ca_path", "ssl_cert_reqs", "ssl_certfile", "ssl_check_hostname", "ssl_ciphers",
    "ssl_keyfile", "ssl_min_version", "ssl_password",
})  # fmt: skip
"""What redis-py takes behind the `?`; anything else it refuses when the first connection is made, job by job."""
_OPTION = re.compile(r"[a-z_]{1,40}")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
_DATABASE_FORMS = "an address: postgresql://[user:password@]host[:port]/name or the like"
_FORMS = "redis://[user:password@]host[:port][/db], rediss://…, redis+sentinel://… or unix:///path"


def faults(flat: Mapping[str, tuple[Any, str]]) -> Iterator[Fault]:
    """Yield what is wrong with the texts of what holds, never with the text itself."""
    for key, (value, layer) in flat.items():
        if not _writable(key) or not _writable(value):
            readable = key.encode("utf-8", "replace").decode("utf-8")
            yield Fault("expected UTF-8 text, found half of a character", key=readable, layer=layer)
        elif rule := RULES.get(key):
            text = value.get_secret_value() if isinstance(value, SecretStr) else value
            if isinstance(text, str) and (fault := rule(text)):
                yield Fault(fault, key=key, layer=layer)


def hmac_fault(secret: str) -> str | None:
    """Say why a text is too weak to keep API keys under."""
    return None if len(secret) >= HMAC_CHARACTERS else f"expected at least {HMAC_CHARACTERS} characters, got fewer"


def redis_fault(url: str) -> str | None:
    """Say why a text is no address of a Redis, None when it is one; without the text, which may hold a password."""
    if is_sentinel(url):
        return _sentinel_fault(url)
    try:
        parts = urlsplit(url)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return f"expected {_FORMS}"
    is_unix = parts.scheme == "unix" and parts.path.startswith("/")
    if any(map(str.isspace, url)) or not (is_unix or (parts.scheme in {"redis", "rediss"} and has_place)):
        return f"expected {_FORMS}"
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    numbers = [options.get("db", "0"), "0" if is_unix else parts.path.strip("/") or "0"]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return "expected the number of a database behind the address's last /, got something else"
    known = REDIS_OPTIONS | TLS_OPTIONS if parts.scheme == "rediss" else REDIS_OPTIONS
    return next((_unknown(name, known) for name in options if name not in known), None)


def _sentinel_fault(url: str) -> str | None:
    try:
        parse(url)
    except ValueError as exc:
        return f"expected {FORM}: {exc}"
    return f"expected {FORM}" if any(map(str.isspace, url)) else None


def database_fault(url: str) -> str | None:
    """Say why a text is no address of a database; without the text, which may hold a password."""
    try:
        parts = urlsplit(url)
        ok = "://" in url and bool(_SCHEME.fullmatch(parts.scheme)) and bool(parts.hostname or parts.path.strip("/"))
        _ = parts.port
    except ValueError:
        ok = False
    return None if ok and not any(map(str.isspace, url)) else f"expected {_DATABASE_FORMS}"


RULES: Final[Mapping[str, Callable[[str], str | None]]] = MappingProxyType({
    "redis.url": redis_fault, "redis.broker_url": redis_fault, "cache.redis_url": redis_fault,
    "service.hmac_secret": hmac_fault, "database.url": database_fault,
})  # fmt: skip


def _unknown(name: str, known: frozenset[str]) -> str:
    if not _OPTION.fullmatch(name):
        return "no such option behind the address's ?"
    return f"no such option behind the address's ?: {name}{did_you_mean(name, known)}"


def _writable(value: Any) -> bool:
    if isinstance(value, str):
        return not any("\ud800" <= letter <= "\udfff" for letter in value)
    if isinstance(value, Mapping):
        return all(_writable(part) for pair in value.items() for part in pair)
    return not isinstance(value, (list, tuple)) or all(map(_writable, value))
