"""A provider's error text made fit for the job's owner: no secrets, one line, bounded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from infrastructure.core.logger_core.secret_shapes import KEYS

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
            r"((?:api[_-]?key|x-api-key|x-goog-api-key|authorization|access[_-]?(?:token|key)|secret|passw(?:or)?d"
            r"|\btoken|cookie|credential|signature)"
            r"[\"']?\s{0,3}(?:[:=]|is|provided:)\s{0,3}[\"']?)[^\s\"',;}&]{4,}",
            re.IGNORECASE,
        ),
        rf"\1{_GONE}",
    ),
    # whole keys by their shape, also half starred out; and forty letters and digits in which nobody reads a word
    (KEYS, _GONE),
    (
        re.compile(r"\b(?=[A-Za-z0-9]{0,99}\d)(?=[A-Za-z0-9]{0,99}[A-Z])(?=[A-Za-z0-9]{0,99}[a-z])[A-Za-z0-9]{32,}"),
        _GONE,
    ),
)
# A character in a URL, in JSON, or in HTML: a key is found in every spelling when the text is read as it was meant.
_ESCAPED = re.compile(r"%([2-7][0-9A-Fa-f])|\\{1,4}u00([2-7][0-9A-Fa-f])|&#x([2-7][0-9A-Fa-f]);|\\{1,4}(?=[/\"'])")
_DEEPEST = 3  # times that an escape may be escaped again
_INNER = re.compile(r'"message"\s{0,3}:\s{0,3}("(?:[^"\\]|\\.)*")')
_PREFIX = re.compile(r"^(?:litellm\.\w+: ?|\w*(?:Error|Timeout)\w*:? ?|\w+Exception(?: \w+)? - )+")
_INSIDE = re.compile(r",? ?url='[^']*'")  # where LiteLLM names the address that was called
_HANDLE = re.compile(r"[.\s]*Handle with `litellm\.\w+`\.?\s*$")
_SENTENCES = re.compile(r"(?<=\.)\s+|\n")
_NO_ADVICE = "the provider does not support a parameter of the request"
_ADVICE = ("litellm", "drop_params", "allowed_openai_params")  # for whoever runs LiteLLM, not for who asks a question


def redact(text: str, *, secrets: Iterable[str] = ()) -> str:
    """Return at most `MAX_CHARS` characters of a text, in one line, without `secrets` and what looks like one."""
    text = _plainly(text[:_SCANNED_CHARS])
    for secret in secrets:
        if len(secret) >= _MIN_SECRET_CHARS:
            text = text.replace(secret, _GONE)
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    text = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"


def _plainly(text: str) -> str:
    """Return a text with the characters that stand in it URL-encoded or escaped, of the printable ones of ASCII."""
    for _ in range(_DEEPEST):
        before, text = text, _ESCAPED.sub(_character, text)
        if text == before:
            break
    return text


def _character(found: re.Match[str]) -> str:
    code = found[1] or found[2] or found[3]
    return chr(int(code, 16)) if code else ""


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
    return _without_advice(_HANDLE.sub("", _PREFIX.sub("", text)).strip())


def _without_advice(text: str) -> str:
    """Return a text without the sentences that tell how to use LiteLLM, where there are any."""
    parts = _SENTENCES.split(text)
    kept = [part for part in parts if not any(word in part.lower() for word in _ADVICE)]
    if len(kept) == len(parts):
        return text
    said = " ".join(part for part in kept if part.strip(" ."))
    return said or (_NO_ADVICE if any(word in text for word in _ADVICE[1:]) else text)
