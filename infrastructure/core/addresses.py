"""The URL under which this machine reaches a server of its own."""

from __future__ import annotations

ANY = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104  addresses to recognise, not to bind


def http_url(host: str, port: int) -> str:
    """Return the URL under which this machine reaches a server that listens on `host`."""
    host = ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
