"""Who calls: by API key; without one only where no key was ever made and only from this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.types import Scope

from api.front import FrontDoor, front_of, within
from api.keys.keys import Principal
from infrastructure.core.error_core import Forbidden, InvalidKey, MissingKey
from infrastructure.core.logger_core import bind_contextvars

ANONYMOUS = Principal(tenant="default", operator=True, key_id=None)


async def principal(request: Request) -> Principal:
    """Return who calls.

    Raises:
        MissingKey: a key is needed and there is none.
        InvalidKey: the key is not valid.
        Forbidden: the caller needs no key, but came by a name that is not this machine's.
        StoreUnavailable: the keys cannot be read.
    """
    scope = request.scope
    caller = await within(_principal(front_of(scope), scope))
    bind_contextvars(tenant=caller.tenant)
    return caller


async def operator(request: Request) -> Principal:
    """Return who calls, where it is an operator: somebody who sees the whole service, every tenant's part of it.

    Raises:
        Forbidden: it is a tenant.
        MissingKey, InvalidKey, StoreUnavailable: as `principal`.
    """
    caller = await principal(request)
    if not caller.operator:
        raise Forbidden("expected an operator's key (`ai-provider keys create --operator`), got a tenant's")
    return caller


async def _principal(front: FrontDoor, scope: Scope) -> Principal:
    headers = dict(scope["headers"])
    if await front.keys.exist() or not is_loopback(front.settings.service.host):
        return await front.keys.authenticate(_bearer(headers))
    _check_local(headers)
    return ANONYMOUS


def is_loopback(host: str) -> bool:
    """Say whether a host name or address is this machine's own and nobody else's."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _bearer(headers: dict[bytes, bytes]) -> str:
    if b"authorization" not in headers:
        raise MissingKey("expected Authorization: Bearer <API key>; `ai-provider keys create` makes one")
    scheme, _, key = headers[b"authorization"].decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not key.strip():
        raise InvalidKey("expected Authorization: Bearer <API key>")
    return key.strip()


def _check_local(headers: dict[bytes, bytes]) -> None:
    """Refuse what a web page of somebody else's can send here through a browser: DNS rebinding, cross-site posts."""
    hosts = [_host(b"//" + headers.get(b"host", b""))]
    if b"origin" in headers:
        hosts.append(_host(headers[b"origin"]))
    if not all(is_loopback(host) for host in hosts):
        raise Forbidden("expected a loopback name in Host and Origin, since no API key is needed here")


def _host(url: bytes) -> str:
    try:
        return urlsplit(url.decode("latin-1")).hostname or ""
    except ValueError:
        return ""
