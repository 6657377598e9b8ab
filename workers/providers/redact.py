"""A provider's error text made fit for the job's owner: no secrets, one line, bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

MAX_CHARS = 500
_SCANNED_CHARS = 20_000  # of a text of any length; what is shown comes from its beginning
_GONE = "[redacted]"
_MIN_SECRET_CHARS = 6  # a shorter "key" (a placeholder such as "none") would black out ordinary words
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    # user:password@ and everything after ? or # of a URL
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://)[^\s/@\"'<>]{1,300}@", re.IGNORECASE), r"\1"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,20}://[^\s?#\"'<>]{1,2000})[?#][^\s\"'<>)]*", re.IGNORECASE), r"\1"),
    # Authorization and its relatives
    (re.compile(r"\b(Bearer|Basic)(\s+)[A-Za-z0-9._~+/=*-]{6,}", re.IGNORECASE), rf"\1\2{_GONE}"),
    (
        re.compile(
            r"((?:api[_-]?key|x-api-key|x-goog-api-key|authorization|access[_-]?token|secret|password)"
            r"[\"']?\s{0,3}(?:[:=]|is|provided:)\s{0,3}[\"']?)[^\s\"',;}&]{4,}",
            re.IGNORECASE,
        ),
        rf"\1{_GONE}",
    ),
    # keys by their shape: OpenAI, Anthropic and DeepSeek (also half starred out), Google, ours, JSON web tokens
    (re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_*-]{4,}"), _GONE),
    (re.compile(r"\bAIza[0-9A-Za-z_*-]{10,}"), _GONE),
    (re.compile(r"\baip_[A-Za-z0-9]+_[A-Za-z0-9_-]{8,}"), _GONE),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]+){0,2}"), _GONE),
)
_INNER = re.compile(r'"message"\s{0,3}:\s{0,3}("(?:[^"\\]|\\.)*")')
_PREFIX = re.compile(r"^(?:litellm\.\w+: ?|\w*(?:Error|Timeout)\w*:? ?|\w+Exception(?: \w+)? - )+")
_INSIDE = re.compile(r",? ?url='[^']*'")  # where LiteLLM names the address that was called
_ADVICE = re.compile(r"[.\s]*Handle with `litellm\.\w+`\.?\s*$")
# How to have LiteLLM drop a parameter: neither ours to switch on nor the caller's.
_SENTENCE = re.compile(r"(?<=[.!])\s+|\s*\n\s*")
_ABOUT_LITELLM = re.compile(r"drop_params|allowed_openai_params|litellm_settings")


def redact(text: str, *, secrets: Iterable[str] = ()) -> str:
    """Return at most `MAX_CHARS` characters of a text, in one line, without `secrets` and what looks like one."""
    text = text[:_SCANNED_CHARS]
    for secret in secrets:
        if len(secret) >= _MIN_SECRET_CHARS:
            text = text.replace(secret, _GONE)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"


def provider_text(text: str) -> str:
    """Return what the provider said, out of what LiteLLM made of it: prefixes, JSON around it, advice at its end."""
    text = _INSIDE.sub("", text[:_SCANNED_CHARS].partition("Traceback (most recent call last)")[0])
    if inner := _INNER.search(text):
        try:
            said = json.loads(inner[1], strict=False)
        except ValueError:
            said = ""
        if isinstance(said, str) and said.strip():
            return said
    return _without_advice(_ADVICE.sub("", _PREFIX.sub("", text)).strip())


def _without_advice(text: str) -> str:
    if not _ABOUT_LITELLM.search(text):
        return text
    said = [one for one in _SENTENCE.split(text) if len(one) > 1 and not _ABOUT_LITELLM.search(one)]
    return " ".join(said) or "the provider does not support a parameter of the request"
