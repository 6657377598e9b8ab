"""Twenty-five secrets and twenty-five prompts, to be planted wherever a line might tell them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from urllib.parse import quote, unquote

SECRETS = (
    "sk-abcdEFGH1234ijklMNOP5678",
    "sk-proj-aB3dE6gH9jK2mN5pQ8sT1vW4",
    "sk-ant-api03-AAAAbbbbCCCC1111dddd2222",
    "sk_live_51HqLyjWDarjtT1zdp7dc",
    "AIzaSyA1b2C3d4E5f6G7h8I9j0KlMnOpQrStUvW",
    "aip_k1x2y3_ABCDEFGHIJKLMNOPQRSTUVWX",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    "Bearer abcdef0123456789abcdef",
    "Basic dXNlcjpodW50ZXIyaHVudGVyMg==",
    "Authorization: Bearer zzzzyyyyxxxxwwww",
    "redis://:hunter2hunter2@redis.internal:6379/0",
    "postgresql://app:correcthorse@db.internal/app",
    "https://user:opensesame@provider.test/v1",
    "https://provider.test/v1/models?key=plainkeyinaquery",
    "password=swordfish-swordfish",
    '{"api_key": "plain-key-in-json"}',
    "token: t0k3n-t0k3n-t0k3n",
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI7K7MDENG8bPxRfiCYEXAMPLEKEY",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "xoxb-123456789012-abcdefghijkl",
    "hf_AbCdEfGhIjKlMnOpQrStUvWxYz",
    "glpat-ABCDEF123456abcdef12",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----",
)

PROMPTS = (
    "Zebrafisch: why is the sky blue?",
    "Translate 'Zebrafisch' into French, please",
    "My diagnosis is Zebrafisch, what should I do",
    '{"role": "user", "content": "Zebrafisch"}',
    '[{"role":"user","content":"Zebrafisch"}]',
    "first line Zebrafisch\nsecond line",
    "with\ttabs Zebrafisch and\rreturns",
    "Zebrafisch %s %d %(name)s %",
    "{Zebrafisch} {0} {}",
    "<script>alert('Zebrafisch')</script>",
    "\x1b[31mZebrafisch\x1b[0m",
    "Zebrafisch \u202e reversed",
    "Zebrafisch \U0001f993 with a picture",
    "斑马鱼Zebrafisch是什么",
    "SELECT 'Zebrafisch' FROM patients;",
    "Zebrafisch, born 1970-01-01, at 12 Main Street",
    "write to zebrafisch@example.com about Zebrafisch",
    "Zebrafisch's salary is 90% of mine",
    "Zebrafisch\x00null",
    "Zebrafisch " + "very " * 2_000 + "long",
    "messages=[{'content': 'Zebrafisch'}]",
    "Traceback (most recent call last): Zebrafisch",
    "Task raised unexpected: Zebrafisch",
    '"timestamp":"2024-01-01T12:00:00Z","message":"Zebrafisch"',
    " Zebrafisch",
)

PLANTS = (*SECRETS, *PROMPTS)
_MARK = "zebrafisch"
# What of a secret must not be found: it is not enough that the whole of it is not there.
_PARTS = (
    "1234ijkl", "aB3dE6gH", "AAAAbbbb", "51HqLyjW", "AIzaSy", "ABCDEFGHIJ", "dozjgNry", "abcdef0123", "dXNlcj", "zzzzyyyy",
    "hunter2", "correcthorse", "opensesame", "plainkeyinaquery", "swordfish", "plain-key", "t0k3n", "IOSFODNN", "wJalr",
    "16C7e42F", "123456789012", "AbCdEfGh", "ABCDEF123456", "MfKQ9r8G", "MIIEvQ",
)  # fmt: skip


CONFIGURED_MARK = "qzxq"
"""Stands in every secret of `configured`."""


@dataclass(frozen=True, slots=True)
class Configured:
    """Secrets of the service itself: the variables that bring them, and the passwords of Redis's users."""

    variables: dict[str, str]
    passwords: dict[str, str]

    @property
    def keys(self) -> list[str]:
        """Return the providers' keys."""
        return [value for name, value in self.variables.items() if name.endswith("_API_KEY")]


def configured(redis_socket: str, sandbox_url: str) -> Configured:
    """Return a secret, most of them in no shape that is known, for each place where the configuration takes one."""
    passwords = {user: f"{user}/{CONFIGURED_MARK}+pass=word" for user in ("store", "broker", "cache")}
    urls = {user: f"unix://{user}:{quote(word, safe='')}@{redis_socket}" for user, word in passwords.items()}
    at = f"{sandbox_url}/p"
    return Configured(
        {
            "OPENAI_API_KEY": f"sk-proj-{CONFIGURED_MARK}AAbb11CCdd22",
            "ANTHROPIC_API_KEY": f"sk-ant-api03-{CONFIGURED_MARK}-33EEff44",
            "GOOGLE_API_KEY": f"AIzaSy{CONFIGURED_MARK}55GGhh66IIjj77",
            "DEEPSEEK_API_KEY": f"plain/{CONFIGURED_MARK}+key=of&words",
            "OPENAI_BASE_URL": f"{at}/openai/v1",
            "ANTHROPIC_BASE_URL": f"{at}/anthropic",
            "DEEPSEEK_BASE_URL": f"{at}/deepseek/v1",
            "GOOGLE_BASE_URL": f"https://caller:{CONFIGURED_MARK}-in-url@gemini.invalid/v1?key={CONFIGURED_MARK}query",
            "AI_PROVIDER_HMAC_SECRET": f"{CONFIGURED_MARK}-hmac-secret-of-at-least-32-characters",
            "AI_PROVIDER_ERRORS_SENTRY_DSN": f"https://{CONFIGURED_MARK}0123456789@sentry.invalid/42",
            "AI_PROVIDER_DATABASE_URL": f"postgresql://app:{CONFIGURED_MARK}-database@db.invalid/app",
            "AI_PROVIDER_DATABASE_PASSWORD": f"{CONFIGURED_MARK}-database-word",
            "REDIS_URL": urls["store"],
            "AI_PROVIDER_REDIS_BROKER_URL": urls["broker"],
            "AI_PROVIDER_CACHE_REDIS_URL": urls["cache"],
            "AI_PROVIDER_SANDBOX_MODE": "on",
        },
        passwords,
    )


def found_in(text: str) -> list[str]:
    """Return what of all that was planted stands in a text; an escaped or encoded form counts."""
    text = text.replace("\\n", "\n")
    forms = text + "\n" + _UNICODE.sub(lambda found: chr(int(found[1], 16)), unescape(unquote(text)))
    found = [part for part in _PARTS if part in forms]
    return [*found, *(mark for mark in (_MARK, CONFIGURED_MARK) if mark in forms.lower())]


_UNICODE = re.compile(r"\\+u([0-9a-fA-F]{4})")
