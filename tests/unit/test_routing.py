"""A model's name to its candidates."""

from __future__ import annotations

from typing import Any

import pytest

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ModelNotFound
from workers.jobs.routing import Candidate, candidates


def configured(**more: Any) -> Settings:
    return Settings.model_validate(
        {
            "providers": {
                "openai": {"api_key": "k", "models": ["gpt-*"], "priority": 2},
                "anthropic": {"kind": "anthropic", "api_key": "k", "models": ["claude-*"]},
                "local": {"needs_key": False, "base_url": "http://127.0.0.1:1/v1", "models": ["gpt-oss*"]},
                "google": {"kind": "google", "models": ["gemini-*"]},
                "off": {"api_key": "k", "models": ["*"]},
            },
            "enabled": ("openai", "anthropic", "local", "google"),
            "models": {
                "default": ("openai/gpt-5", "google/gemini-3", "local/gpt-oss", "anthropic/claude-4"),
                "vision": ("google/gemini-3",),
            },
            **more,
        }
    )


def named(model: str) -> list[str]:
    return [f"{found.provider}/{found.model}" for found in candidates(configured(), model)]


def test_a_logical_name_gives_its_candidates_by_priority_and_then_in_order() -> None:
    assert named("default") == ["local/gpt-oss", "anthropic/claude-4", "openai/gpt-5"]


def test_provider_and_model_can_be_spelled_out() -> None:
    bare = {"api_key": "k", "base_url": "http://127.0.0.1:1/v1"}
    settings = configured(providers={"any": bare, "tight": {**bare, "models": ["gpt-*"], "prices": {"p": {"input": 1, "output": 1}}}},
                          enabled=("any", "tight"), models={"m": ("tight/odd",)})  # fmt: skip
    assert candidates(settings, "any/meta/llama") == (Candidate("any", "meta/llama"),)
    for model in ("gpt-5", "p", "odd"):
        assert candidates(settings, f"tight/{model}") == (Candidate("tight", model),)
    with pytest.raises(ModelNotFound, match=r"takes models that fit gpt-\* \(providers.tight.models\)"):
        candidates(settings, "tight/made-up-1")


def test_a_bare_name_goes_to_every_provider_that_claims_it() -> None:
    assert named("gpt-oss-20b") == ["local/gpt-oss-20b", "openai/gpt-oss-20b"]
    assert named("claude-x") == ["anthropic/claude-x"]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("defualt", "did you mean default?"),
        ("clade-4", "claude-4"),
        ("google/gemini-3", "provider google cannot be called: set GOOGLE_API_KEY"),
        ("gemini-3", "is one of google, which cannot be called: set GOOGLE_API_KEY"),
        ("off/x", "provider off cannot be called: it is not in providers.enabled"),
        ("vision", "no provider in use; one of these needs a key: google"),
        ("nothing", "There are: default, gpt-*, claude-*, gpt-oss*, openai/…"),
        ("openai/", "provider openai"),
        ("x" * 300, "no model answers to"),
    ],
)
def test_an_unknown_model_is_told_with_what_there_is(model: str, told: str) -> None:
    with pytest.raises(ModelNotFound) as failure:
        candidates(configured(), model)
    assert told in failure.value.message
    assert len(failure.value.message) < 600


def test_with_no_provider_at_all_the_message_says_that_there_is_none() -> None:
    with pytest.raises(ModelNotFound, match="There are: none"):
        candidates(Settings(), "gpt-5")
