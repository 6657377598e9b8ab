"""Which provider and model may answer to a model's name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from infrastructure.core.config_core import Settings
from infrastructure.core.error_core import ModelNotFound

MAX_LISTED = 10
MAX_NAME = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A provider's name in the configuration, and the model as that provider calls it."""

    provider: str
    model: str


def candidates(settings: Settings, model: str) -> tuple[Candidate, ...]:
    """Return who may answer to `model`, best first: by the provider's priority, then in the order of the configuration.

    `model` is a logical name of `models`, or `provider/model`, or a bare name that a provider's patterns claim.

    Raises:
        ModelNotFound: nobody in use does; the message names near matches and what there is.
    """
    found = _logical(settings, model) or _spelled_out(settings, model) or _bare(settings, model)
    if not found:
        raise ModelNotFound(_explain(settings, model))
    in_use = settings.in_use()
    return tuple(sorted(found, key=lambda candidate: in_use[candidate.provider].priority))


def resolve_all(settings: Settings) -> dict[str, tuple[Candidate, ...]]:
    """Return every logical model's candidates, none where no provider of it is in use: a reload's trial."""
    return {model: candidates(settings, model) if _logical(settings, model) else () for model in settings.models}


def _logical(settings: Settings, model: str) -> list[Candidate]:
    in_use = settings.in_use()
    pairs = (entry.partition("/") for entry in settings.models.get(model, ()))
    return [Candidate(provider, name) for provider, _, name in pairs if provider in in_use and name]


def _spelled_out(settings: Settings, model: str) -> list[Candidate]:
    provider, _, name = model.partition("/")
    found = settings.in_use().get(provider) if name else None
    return [Candidate(provider, name)] if found is not None and _takes(settings, provider, name) else []


def _takes(settings: Settings, provider: str, name: str) -> bool:
    """Say whether a provider is asked for a model by its name: any where it has no patterns.

    With patterns a name has to fit one, or stand in `models`, or have a price: names come from callers, and each is a row
    in the operator's tables.
    """
    known = settings.providers[provider]
    return (
        not known.models
        or any(fnmatchcase(name, pattern) for pattern in known.models)
        or name in known.prices
        or any(f"{provider}/{name}" in entries for entries in settings.models.values())
    )


def _bare(settings: Settings, model: str) -> list[Candidate]:
    if model in settings.models:  # a logical name never becomes another provider's model by accident
        return []
    return [
        Candidate(name, model)
        for name, provider in settings.in_use().items()
        if any(fnmatchcase(model, pattern) for pattern in provider.models)
    ]


def _explain(settings: Settings, model: str) -> str:
    shown = repr(model[:MAX_NAME])
    provider = model.partition("/")[0]
    if model in settings.models:
        providers = dict.fromkeys(entry.partition("/")[0] for entry in settings.models[model])
        names = ", ".join(name for name in providers if not name.startswith("sandbox"))
        return f"model {shown} has no provider in use; one of these needs a key: {names}"
    if "/" in model and provider in settings.in_use():
        patterns = ", ".join(settings.providers[provider].models[:MAX_LISTED])
        return f"model {shown}: provider {provider} takes models that fit {patterns} (providers.{provider}.models)"
    if "/" in model and provider in settings.providers:
        return f"model {shown}: provider {provider} cannot be called: {why_unused(settings, provider)}"
    unkeyed = (
        name for name in settings.enabled if any(fnmatchcase(model, one) for one in settings.providers[name].models)
    )
    if name := next(unkeyed, None):
        return f"model {shown} is one of {name}, which cannot be called: {why_unused(settings, name)}"
    near = difflib.get_close_matches(model[:MAX_NAME], _names(settings), 3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    known = ", ".join(_listed(settings)) or "none"
    return f"no model answers to {shown}{hint or '.'} There are: {known}"


def why_unused(settings: Settings, name: str) -> str:
    """Return why a configured provider is not in use."""
    if name not in settings.enabled:
        return "it is not in providers.enabled"
    return (
        f"set {name.upper().replace('-', '_')}_API_KEY" if settings.providers[name].needs_key else "it has no base_url"
    )


def _names(settings: Settings) -> list[str]:
    """Return every name that is known to lead somewhere, for near matches."""
    in_use = settings.in_use()
    listed = [entry for entries in settings.models.values() for entry in entries if entry.partition("/")[0] in in_use]
    return [*_usable(settings), *listed, *(entry.partition("/")[2] for entry in listed)]


def _usable(settings: Settings) -> list[str]:
    return [name for name in settings.models if _logical(settings, name)]


def _listed(settings: Settings) -> Iterable[str]:
    patterns = [pattern for provider in settings.in_use().values() for pattern in provider.models]
    spelled = [f"{name}/…" for name in settings.in_use()]
    return (*_usable(settings)[:MAX_LISTED], *dict.fromkeys(patterns[:MAX_LISTED]), *spelled[:MAX_LISTED])
