"""The URL of a webhook endpoint, read strictly, and written again from its parts so that no reader sees another host.

Only the form is judged here; which addresses its host leads to is judged when it is resolved (`guard`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

import idna

from infrastructure.core.config_core.sections import Webhooks
from workers.jobs.webhooks.addresses import allowed, is_loopback, parsed

MAX_CHARACTERS = 2_000
MAX_HOST = 253
_PLAIN = re.compile(r"[!-~]+\Z")  # printable ASCII without a space
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)\Z")
_NUMBER = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_OURS_ONLY = ("localhost", "local", "internal", "onion", "test", "invalid", "home.arpa")
DEFAULT_PORTS = {"https": 443, "http": 80}


class UrlRefused(ValueError):
    """The URL cannot be an endpoint's; the message says what was expected, never the URL."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where an endpoint is: `url` in one spelling, host in ASCII (an IPv6 address without brackets)."""

    url: str
    host: str
    port: int
    plain: bool
    """Not encrypted: for this machine only, by setting."""


def target(text: str, rules: Webhooks) -> Target:
    """Return where a URL leads.

    Raises:
        UrlRefused: it is no https URL of a public host, by its form alone.
    """
    scheme, host_text, port_text, rest = _split(text)
    if scheme not in DEFAULT_PORTS or (scheme == "http" and not rules.allow_loopback):
        raise UrlRefused("expected an https URL")
    host = _host(host_text, rules, plain=scheme == "http")
    port = _port(port_text, scheme, rules, free=rules.allow_loopback and _is_own(host))
    shown = f"[{host}]" if ":" in host else host
    place = "" if port == DEFAULT_PORTS[scheme] else f":{port}"
    return Target(f"{scheme}://{shown}{place}{rest}", host, port, plain=scheme == "http")


def _split(text: str) -> tuple[str, str, str, str]:
    """Return scheme, host, port and the rest; only the host may hold other characters than ASCII's."""
    if len(text) > MAX_CHARACTERS:
        raise UrlRefused(f"expected at most {MAX_CHARACTERS} characters, got {len(text)}")
    if any(character.isspace() or not character.isprintable() or character == "\\" for character in text):
        raise UrlRefused("expected a URL without spaces, control characters and backslashes")
    try:
        parts = urlsplit(text)
    except ValueError:
        raise UrlRefused("expected a URL with a host, got another form") from None
    if not parts.netloc or "#" in text:
        raise UrlRefused("expected https://host/path without a fragment")
    if "@" in parts.netloc:
        raise UrlRefused("expected a URL without user and password")
    rest = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not _PLAIN.match(rest):
        raise UrlRefused("expected path and query in ASCII; other characters are written as %XX")
    host, port = _authority(parts.netloc)
    return parts.scheme, host, port, rest


def _authority(netloc: str) -> tuple[str, str]:
    if netloc.startswith("["):
        host, bracket, port = netloc[1:].partition("]")
        if not bracket or (port and not port.startswith(":")) or ":" not in host:
            raise UrlRefused("expected an IPv6 address between brackets")
        return host, port[1:]
    host, _, port = netloc.partition(":")
    return host, port


def _host(text: str, rules: Webhooks, *, plain: bool) -> str:
    if ":" in text:
        address = parsed(text)
        host = "" if address is None else str(address)
    else:
        host = _ascii(text)
        last = host.rpartition(".")[2]
        if _NUMBER.match(last) and (parsed(host) is None or str(parsed(host)) != host):
            raise UrlRefused("expected a host name, or an address as four decimal numbers")
    if parsed(host) is not None or not host:
        if not host or not allowed(host, loopback=rules.allow_loopback, plain=plain):
            raise UrlRefused("expected a public address")
        return host
    return _name(host, rules, plain=plain)


def _ascii(text: str) -> str:
    """Return a host in lower-case ASCII (IDNA 2008, UTS 46), so that look-alike digits and dots are seen for what they are."""
    try:
        host = idna.encode(text, uts46=True).decode("ascii").lower() if not text.isascii() else text.lower()
    except (idna.IDNAError, UnicodeError):
        raise UrlRefused("expected an international host name that IDNA knows") from None
    return host.removesuffix(".")


def _name(host: str, rules: Webhooks, *, plain: bool) -> str:
    labels = host.split(".")
    if len(host) > MAX_HOST or not all(_LABEL.match(label) for label in labels):
        raise UrlRefused("expected a host name of letters, digits and hyphens between dots")
    own = host == "localhost" or host.endswith(".localhost")
    if own and rules.allow_loopback:
        return host
    if plain:
        raise UrlRefused("expected an https URL: http is for this machine only")
    if len(labels) == 1 or any(host == name or host.endswith(f".{name}") for name in _OURS_ONLY):
        raise UrlRefused("expected a public host name")
    return host


def _port(text: str, scheme: str, rules: Webhooks, *, free: bool) -> int:
    if text and not _PORT.match(text):
        raise UrlRefused("expected a port number")
    port = int(text) if text else DEFAULT_PORTS[scheme]
    if free and 0 < port <= 65_535:  # noqa: PLR2004  the largest port
        return port
    if port not in rules.ports:
        raise UrlRefused(f"expected one of the ports {', '.join(map(str, rules.ports))}")
    return port


def _is_own(host: str) -> bool:
    address = parsed(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return is_loopback(address)
