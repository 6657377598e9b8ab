"""What looks like a secret, wherever it stands."""

from __future__ import annotations

import re
from collections.abc import Iterable

MIN_SECRET_CHARS = 8  # a shorter "key" (a placeholder such as "sandbox") would black out ordinary words

_PREFIXES = (
    r"(?:sk|pk|rk|gsk|hf|gh[oprsu]|github_pat|glpat|npm|pypi|whsec|xox[a-z]|xapp|dop_v1|shpat|sntry[su]|tvly|pplx|r8)"
    r"[-_][A-Za-z0-9_*-]{4,}"
)
_NAMES_OF_SECRETS = (
    "api[_-]?key|access[_-]?key|authorization|token|secret|passw(?:or)?d|pwd|cookie|session|credential|signature"
)
_KEYS = (
    rf"(?<![A-Za-z0-9]){_PREFIXES}",
    r"(?<![A-Za-z0-9])aip_[A-Za-z0-9_*-]{4,}",  # ours; `aip-redis-…` is the embedded server's folder
    r"(?:AKIA|ASIA)[0-9A-Z]{12,}",  # AWS key ids
    r"AIza[0-9A-Za-z_*-]{10,}",  # Google
    r"ya29\.[\w-]{6,}",
    r"SG\.[\w-]{8,}",  # SendGrid
    r"eyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]+){0,2}",  # JSON web tokens
    r"-----BEGIN(?:(?s:.)*?-----END[A-Z ]{0,60}-----|(?s:.)*)",
)
KEYS = re.compile("|".join(_KEYS))
"""Keys and tokens from their first letter to their last, by their shape."""

_FORMS = (
    r"://[^\s/@]*@",  # a URL with credentials
    r"://[^\s?#]*[?#]",  # a URL with a query
    r"(?i:\b(?:bearer|basic)\s+\S{6,})",
    rf"(?i:(?:{_NAMES_OF_SECRETS})s?[\"']?\s{{0,3}}[:=]\s{{0,3}}\S)",
)
_SHAPES = re.compile("|".join((*_KEYS, *_FORMS)))
# Letters and digits mixed, with nothing between them: a name has words, a key has not.
_LONG_PIECE = re.compile(r"[A-Za-z0-9]{20,}")


def looks_secret(text: str) -> bool:
    """Say whether a text holds something in the shape of a key, a token, a password or a URL with credentials."""
    return _SHAPES.search(text) is not None


def looks_random(text: str) -> bool:
    """Say whether a text holds twenty or more letters and digits in one piece: no name, most likely a key."""
    return any(not piece.isalpha() and not piece.isdigit() for piece in _LONG_PIECE.findall(text))


def looks_random_for_an_id(text: str) -> bool:
    """Say the same of an id: ours are in small letters, so that only a mix of small and large ones is no id."""
    pieces = _LONG_PIECE.findall(text)
    return any(
        not piece.isalpha() and not piece.islower() and not piece.isupper() for piece in pieces if not piece.isdigit()
    )


def any_of(secrets: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds any of these secrets, None when none of them is long enough to be told from a word."""
    long = sorted({secret for secret in secrets if len(secret) >= MIN_SECRET_CHARS}, key=len, reverse=True)
    return re.compile("|".join(re.escape(secret) for secret in long)) if long else None
