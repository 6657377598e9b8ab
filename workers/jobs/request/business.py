"""Rules of the business, beyond the form of a request: whether anybody in the configuration can serve it."""

from __future__ import annotations

from dataclasses import dataclass

from infrastructure.core.config_core import Provider, Settings
from infrastructure.core.error_core import ValidationFailed
from infrastructure.optional.validation_core import Rule, RuleSet
from workers.jobs.request.completion import CompletionRequest
from workers.jobs.routing import candidates


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with the providers that may answer it, of which there is at least one."""

    request: CompletionRequest
    providers: tuple[Provider, ...]

    @property
    def tokens(self) -> int:
        """Return how long the answer may be, 0 where the request does not say."""
        return self.request.max_completion_tokens or self.request.max_tokens or 0

    @property
    def most_tokens(self) -> int | None:
        """Return the longest answer that one of the providers gives, None where one has no limit."""
        limits = [provider.max_tokens for provider in self.providers]
        return None if None in limits else max(limit or 0 for limit in limits)


def _fits(asked: Asked) -> bool:
    return asked.most_tokens is None or asked.tokens <= asked.most_tokens


BUSINESS: RuleSet[Asked] = RuleSet(
    Rule(
        "max_tokens",
        "too_many_tokens",
        lambda asked: f"expected at most {asked.most_tokens}, which providers of this model allow, got {asked.tokens}",
        _fits,
    ),
)
"""What is to hold of a request whose model is known."""


def check_business(request: CompletionRequest, settings: Settings) -> None:
    """Refuse now what no worker could serve, before it becomes a failed job.

    Raises:
        ModelNotFound: nobody in use answers to the model's name.
        ValidationFailed: a rule is broken; all are listed in `data["errors"]`.
    """
    providers = tuple(settings.providers[one.provider] for one in candidates(settings, request.model))
    if found := BUSINESS.check(Asked(request, providers)):
        message = f"{found[0].rule} breaks a rule; each is listed in errors"
        raise ValidationFailed(message, errors=[violation.as_json() for violation in found])
