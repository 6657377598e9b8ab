"""Who may answer a request at all: the model's candidates, without those that plainly cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from infrastructure.core.config_core import ProviderKind, Settings
from infrastructure.core.error_core import ModelNotFound
from workers.jobs.routing import candidates
from workers.providers.calls import NO_CANDIDATE, Call, CallerFault, CompletionFailed, Target
from workers.providers.classify import Kind
from workers.providers.estimate import Size, size_of
from workers.providers.library import Facts

Look = Callable[[ProviderKind, str], Facts]
MOST_ROUTES = 1_000
"""Names of models come from callers."""


class Routes:
    """The candidates of each model under the configuration that was asked about last, worked out once."""

    def __init__(self, facts: Look) -> None:
        self._facts = facts
        self._settings: Settings | None = None
        self._found: dict[str, tuple[Target, ...]] = {}

    def targets(self, settings: Settings, call: Call) -> tuple[Target, ...]:
        """Return what the function `targets` does."""
        if settings is not self._settings:
            self._settings, self._found = settings, {}
        found = self._found.get(call.model)
        if found is None:
            found = targets(settings, call, self._facts)
            if len(self._found) < MOST_ROUTES:
                self._found[call.model] = found
        return found


def targets(settings: Settings, call: Call, facts: Look) -> tuple[Target, ...]:
    """Return the model's candidates in the order of the configuration.

    Raises:
        CompletionFailed: there is none: the configuration has changed since the job was taken.
    """
    try:
        found = candidates(settings, call.model)
    except ModelNotFound as exc:
        raise CompletionFailed(exc.message, job_code=NO_CANDIDATE) from None
    return tuple(
        Target(one.provider, one.model, provider, facts(provider.kind, one.model))
        for one in found
        for provider in (settings.providers[one.provider],)
    )


def able(among: Sequence[Target], call: Call) -> tuple[Target, ...]:
    """Return those that can answer this request, as far as can be told before anybody is asked.

    A candidate that timed out for this job is not asked again: it may have been paid.

    Raises:
        CompletionFailed: there is none, and why.
    """
    size, left = size_of(call.params), tuple(among)
    for fits, job_code, why in _filters(call.params, size, left):
        fitting = tuple(one for one in left if fits(one))
        if not fitting:
            raise CallerFault(why, job_code=job_code)
        left = fitting
    spent = {(one.provider, one.model) for one in call.earlier if one.outcome == Kind.TIMEOUT}
    unspent = tuple(one for one in left if one.key not in spent)
    if not unspent:
        raise CompletionFailed("no provider of this model answered in time", job_code=Kind.TIMEOUT.value)
    return unspent


def _filters(
    params: Mapping[str, Any], size: Size, among: Sequence[Target]
) -> list[tuple[Callable[[Target], bool], str, str]]:
    """Return, for what the request needs: who has it, and code and text of the failure when nobody has."""
    asked = size.most_tokens or 0
    most = max(one.provider.max_tokens or 0 for one in among)
    needs: list[tuple[Callable[[Target], bool], str, str]] = [
        (lambda one: one.facts.mode != "responses", NO_CANDIDATE,
         "expected a model that OpenAI serves as chat completions, got one that it serves by its Responses API only"),
        (lambda one: one.provider.max_tokens is None or asked <= one.provider.max_tokens, NO_CANDIDATE,
         f"expected max_tokens to be at most {most}, the most that a provider of this model allows, got {asked}"),
        (lambda one: not size.surely_above(one.facts.window), Kind.CONTEXT_WINDOW.value,
         "the prompt is longer than the context window of every candidate"),
    ]  # fmt: skip
    if params.get("tools") or params.get("functions"):
        needs.append((lambda one: one.facts.tools is not False, Kind.UNSUPPORTED_PARAMETER.value,
                      "no candidate of this model can call tools"))  # fmt: skip
    if size.pictures:
        needs.append((lambda one: one.facts.vision is not False, Kind.UNSUPPORTED_PARAMETER.value,
                      "no candidate of this model can see images"))  # fmt: skip
    if (params.get("response_format") or {}).get("type") == "json_schema":
        needs.append((lambda one: one.facts.schemas is not False, Kind.UNSUPPORTED_PARAMETER.value,
                      "no candidate of this model can bind its answer to a JSON schema"))  # fmt: skip
    return needs
