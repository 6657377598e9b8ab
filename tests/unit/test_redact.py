"""Secrets in a provider's error text do not reach anybody, whatever their form."""

from __future__ import annotations

import json
import time
from urllib.parse import quote

import pytest

from tests.support.machine import in_time
from tests.support.planted import SECRETS, found_in
from workers.providers.redact import MAX_CHARS, provider_text, redact

UNSUPPORTED = (
    "litellm.UnsupportedParamsError: openai does not support parameters: ['stop'], for model=gpt-5. To drop these, "
    "set `litellm.drop_params=True` or for proxy:\n\n`litellm_settings:\n drop_params: true`\n. \n If you want to use "
    "these params dynamically send allowed_openai_params=['stop'] in your request."
)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("Incorrect API key provided: sk-proj-abcDEF123456.", "abcDEF123456"),
        ("Incorrect API key provided: sk-abcd****************wxyz.", "wxyz"),
        ("key sk-ant-api03-AAAAbbbb-CCCC is bad", "AAAAbbbb"),
        ("header Authorization: Bearer abcdef.ghijkl", "abcdef.ghijkl"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ('{"x-api-key": "abcd1234efgh"}', "abcd1234efgh"),
        ("api_key=abcd1234efgh&x=1", "abcd1234efgh"),
        ("access_token: 'abcd1234efgh'", "abcd1234efgh"),
        ("API key not valid: AIzaSyA-1234567890abcdef", "1234567890abcdef"),
        ("aip_k1_AAAABBBBCCCCDDDD is ours", "AAAABBBBCCCCDDDD"),
        ("token eyJhbGciOi.eyJzdWIiOi.c2lnbmF0dXJl", "c2lnbmF0dXJl"),
        ("POST https://user:hunter2@provider.test/v1 failed", "hunter2"),
        ("GET https://provider.test/v1/models?key=abc123 failed", "abc123"),
    ],
)
def test_a_secret_of_a_known_shape_is_gone(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)


@pytest.mark.parametrize("secret", SECRETS)
def test_none_of_the_planted_secrets_is_left_in_any_spelling(secret: str) -> None:
    escaped = "".join(letter if letter.isalnum() else f"\\u{ord(letter):04x}" for letter in secret)
    spellings = (secret, quote(secret, safe=""), quote(quote(secret, safe=""), safe=""), json.dumps(secret), escaped)
    for spelling in spellings:
        assert not found_in(redact(f"the provider said {spelling} was wrong")), spelling


@pytest.mark.parametrize("spelling", [
    "plain%2Fword%2Bkey%3Dof", "plain%2fword%2bkey%3dof", "plain%252Fword%252Bkey%253Dof", r"plain\/word+key=of",
    r"plain\u002fword\u002Bkey\u003dof", "plain&#x2f;word&#x2B;key&#x3d;of",
])  # fmt: skip
def test_a_configured_key_is_gone_however_it_is_spelled(spelling: str) -> None:
    assert redact(f"the key {spelling} is unknown", secrets=["plain/word+key=of"]) == "the key [redacted] is unknown"


def test_an_id_that_a_provider_gives_to_a_request_stays() -> None:
    said = "See req_011CSHoEeqs5C35K2UUqR7Fy, at most 4096 max tokens: 8192 were asked for, 100% of them"
    assert redact(said) == said


def test_a_configured_key_of_any_shape_is_gone() -> None:
    assert redact("the key plainwordsecret is unknown", secrets=["plainwordsecret"]) == "the key [redacted] is unknown"


def test_a_placeholder_key_does_not_black_out_ordinary_words() -> None:
    assert redact("none of them", secrets=["none"]) == "none of them"


def test_the_rest_of_the_text_stays() -> None:
    said = "This model's maximum context length is 8192 tokens, see https://provider.test/docs/errors for more"
    assert redact(said) == said


def test_the_text_is_one_bounded_line() -> None:
    assert redact("a\nb\x00c\x1b[31md\u202ee") == "a b c [31md e"
    assert len(redact("word " * 10_000)) == MAX_CHARS


@pytest.mark.parametrize(
    "text",
    [
        "sk-" * 7_000,
        "%25" * 7_000,
        "-----BEGIN" * 2_000,
        "a1B" * 7_000,
        "\\\\u00" * 3_000,
        "http://" + "a" * 20_000,
        "Bearer " * 3_000,
        '"message":"' + "\\" * 20_000,
    ],
)
def test_a_hostile_text_takes_no_time(text: str) -> None:
    started = time.perf_counter()
    redact(provider_text(text))
    assert in_time(time.perf_counter() - started, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'litellm.BadRequestError: OpenAIException - {"error":{"message":"Bad \\"role\\".","code":null}}',
            'Bad "role".',
        ),
        ("litellm.InternalServerError: AnthropicException - gone. Handle with `litellm.InternalServerError`.", "gone"),
        ("litellm.APIError: APIError: OpenAIException - Overloaded", "Overloaded"),
        (
            UNSUPPORTED,
            "openai does not support parameters: ['stop'], for model=gpt-5.",
        ),
        ("see litellm for more", "see litellm for more"),
        ("plain", "plain"),
        ("", ""),
    ],
)
def test_the_providers_own_words_are_taken_out_of_litellms(text: str, said: str) -> None:
    assert provider_text(text) == said


@pytest.mark.parametrize(
    "advice",
    [
        (
            " To drop these, set `litellm.drop_params=True` or for proxy:\n\n`litellm_settings:\n drop_params: true`\n. \n "
            "If you want to use these params dynamically send allowed_openai_params=['logit_bias'] in your request."
        ),
        " To drop it from the call, set `litellm.drop_params = True`",
    ],
)
def test_how_to_have_litellm_drop_a_parameter_is_no_advice_for_a_caller(advice: str) -> None:
    said = "anthropic does not support parameters: ['logit_bias'], for model=small."
    assert provider_text(f"litellm.UnsupportedParamsError: {said}{advice}") == said
    assert "drop" not in provider_text(f"litellm.UnsupportedParamsError:{advice}")
