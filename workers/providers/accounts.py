"""The accounts of a configuration as a worker uses them: a builder for each kind of provider, connections of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from infrastructure.core.config_core import Provider, ProviderKind
from infrastructure.optional.factory_core import Factory, Generations
from workers.providers.library import Endpoint, Library

NO_KEY = "none"  # for servers without keys: an empty one would send LiteLLM to the environment, past the configuration
# Always passed, for the same reason.
_BASE_URL = {
    ProviderKind.OPENAI: "https://api.openai.com/v1",
    ProviderKind.ANTHROPIC: "https://api.anthropic.com",
    ProviderKind.GOOGLE: "https://generativelanguage.googleapis.com/v1beta",
    ProviderKind.DEEPSEEK: "https://api.deepseek.com/beta",
}
Accounts = Generations[Provider, "Account"]


class Account:
    """An account at a provider, with one pool of connections for all of its models."""

    def __init__(self, provider: Provider, *, base_url: str, http: Any) -> None:
        self._provider = provider
        self._base_url = base_url
        self._http = http

    def endpoint(self, model: str) -> Endpoint:
        """Return where the calls of a model go."""
        key = self._provider.api_key
        return Endpoint(
            kind=self._provider.kind,
            model=model,
            api_key=(key.get_secret_value() if key else "") or NO_KEY,
            base_url=self._base_url,
            http=self._http,
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()


def accounts(library: Library) -> Accounts:
    """Return the accounts of whatever configuration they are asked for; those of a retired one are closed."""
    factory: Factory[Provider, Account] = Factory(lambda provider: provider.kind)
    for kind in _BASE_URL:
        factory.register(kind, _builder(library))
    return Generations(factory.create, close=Account.close)


def base_url(provider: Provider) -> str:
    """Return where a provider is, as configured or else its usual place."""
    return (provider.base_url or _BASE_URL[provider.kind]).rstrip("/")


def _builder(library: Library) -> Callable[[str, Provider], Account]:
    def build(_: str, provider: Provider) -> Account:
        return Account(provider, base_url=base_url(provider), http=library.open_http())

    return build
