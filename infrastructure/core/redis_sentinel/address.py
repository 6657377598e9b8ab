"""The URL of a Redis behind Sentinel, taken apart.

`redis+sentinel://[user:password@]host1[:26379][,host2[:26379]…][/db]?master=NAME[&sentinel_username=…][&sentinel_password=…]`

User and password before the hosts are the Redis servers'; the sentinels' own stand in the query. All are URL-encoded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

SCHEME: Final = "redis+sentinel"
PORT: Final = 26_379
FORM: Final = "redis+sentinel://[user:password@]host1:26379[,host2:26379…][/db]?master=NAME[&sentinel_password=…]"
_HOST = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>\d{1,5}))?")
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_ALLOWED = {"master", "sentinel_username", "sentinel_password"}
_MAX_PORT = 65_535


@dataclass(frozen=True, slots=True, kw_only=True)
class SentinelAddress:
    """Where the sentinels are, which master is meant, and who asks; secrets are kept out of its repr."""

    sentinels: tuple[tuple[str, int], ...]
    master: str
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)

    def shown(self) -> str:
        """Return the URL without anybody's user and password."""
        return f"{SCHEME}://{','.join(map(_joined, self.sentinels))}/{self.database}?master={self.master}"

    def celery_url(self) -> str:
        """Return the URL as kombu spells it: one for each sentinel; the master's name goes in the transport's options."""
        user = quote(self.username or "", safe="")
        secret = f"{user}:{quote(self.password or '', safe='')}@" if user or self.password else ""
        return ";".join(f"sentinel://{secret}{_joined(one)}/{self.database}" for one in self.sentinels)

    def sentinel_options(self) -> dict[str, str]:
        """Return what the sentinels themselves want to know of who asks."""
        options = {"username": self.sentinel_username, "password": self.sentinel_password}
        return {name: value for name, value in options.items() if value}


def is_sentinel(url: str) -> bool:
    """Say whether a URL means a Redis behind Sentinel."""
    return url.startswith(f"{SCHEME}://")


def parse(url: str) -> SentinelAddress:
    """Return what a URL says.

    Raises:
        ValueError: it is not of the form; the text says what is wrong and quotes nothing that may be a secret.
    """
    parts = urlsplit(url)
    credentials, _, hosts = parts.netloc.rpartition("@")
    asked = parse_qs(parts.query, keep_blank_values=True)
    if unknown := asked.keys() - _ALLOWED:
        raise ValueError(f"expected no parameter but {', '.join(sorted(_ALLOWED))}, got {len(unknown)} other")
    if not _NAME.fullmatch(master := asked.get("master", [""])[-1]):
        raise ValueError("expected ?master= to name the master as the sentinels call it")
    database = parts.path.strip("/")
    if not re.fullmatch(r"\d{0,4}", database):
        raise ValueError("expected the path to be the number of a database")
    user, _, password = credentials.partition(":")
    return SentinelAddress(
        sentinels=tuple(_host(one) for one in hosts.split(",")),
        master=master,
        database=int(database or 0),
        username=unquote(user) or None,
        password=unquote(password) or None,
        sentinel_username=asked.get("sentinel_username", [""])[-1] or None,
        sentinel_password=asked.get("sentinel_password", [""])[-1] or None,
    )


def _host(text: str) -> tuple[str, int]:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or PORT) if found else 0
    if not found or not 0 < port <= _MAX_PORT:
        raise ValueError("expected each sentinel to be host or host:port")
    return found["host"].strip("[]"), port


def _joined(address: tuple[str, int]) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
