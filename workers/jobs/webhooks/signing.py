"""Secrets and signatures of webhooks, in the form of Standard Webhooks 1.0 (github.com/standard-webhooks/standard-webhooks).

An endpoint's secret is never stored: it is HMAC-SHA256, under the service's own secret, of the endpoint's id and of a random
salt of its generation, which Redis holds. Whoever reads Redis cannot sign; whoever has the service's secret, as the front
door and upkeep do, can. The fingerprint, kept beside the salt, tells a process with another secret that it must not sign.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

_PURPOSE = b"ai-provider webhook secret v1"
_FINGERPRINT = b"ai-provider webhook fingerprint v1"
SCHEME = "v1"
SECRET_PREFIX = "whsec_"  # noqa: S105  what a secret begins with


def new_salt() -> str:
    """Return the salt of a new generation."""
    return secrets.token_hex(32)


def fingerprint(service_secret: bytes) -> str:
    """Return what tells one service secret from another, and nothing of it."""
    return hmac.new(service_secret, _FINGERPRINT, hashlib.sha256).hexdigest()[:16]


def salt_from(service_secret: bytes, *parts: str) -> str:
    """Return the salt that repeated requests under one idempotency key have in common; nobody else can tell it."""
    return hmac.new(service_secret, "\0".join(("salt", *parts)).encode(), hashlib.sha256).hexdigest()


def secret_key(service_secret: bytes, endpoint_id: str, salt: str) -> bytes:
    """Return the 32 bytes that sign for one generation of an endpoint."""
    return hmac.new(
        service_secret, b"\0".join((_PURPOSE, endpoint_id.encode(), salt.encode())), hashlib.sha256
    ).digest()


def shown_secret(key: bytes) -> str:
    """Return a secret as its owner gets it: `whsec_` and base64."""
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signed_headers(message_id: str, timestamp_s: int, body: bytes, *, keys: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of one attempt; each key signs `id.timestamp.body`, the newest first."""
    content = f"{message_id}.{timestamp_s}.".encode() + body
    signatures = (base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode() for key in keys)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"{SCHEME},{signature}" for signature in signatures),
    }
