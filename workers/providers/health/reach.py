"""Whether a provider can be reached: its list of models, which costs nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass

import httpx

from infrastructure.core.config_core import Provider, ProviderKind
from workers.providers.accounts import NO_KEY, base_url

_ANTHROPIC_VERSION = "2023-06-01"
_REFUSED = frozenset({401, 402})  # a key may be good for completions and not for the list: 403
_FAILED_FROM = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What came of asking. `reason` is empty where all is well, else a class of failure."""

    reachable: bool
    refused: bool
    reason: str
    response_time_ms: float


class Reacher:
    """Asks providers for their lists of models over connections of its own; close it when done."""

    def __init__(self) -> None:
        self._http = httpx.AsyncClient(follow_redirects=False, trust_env=False, limits=httpx.Limits(max_connections=64))

    async def ask(self, provider: Provider, *, timeout_s: float) -> Reach:
        """Return whether the provider answers within `timeout_s` seconds. Any answer below 500 is one; the body is not read."""
        began = time.perf_counter()
        key = (provider.api_key.get_secret_value() if provider.api_key else "") or NO_KEY  # as its calls have it
        try:
            request = self._http.build_request(
                "GET", _url(provider.kind, base_url(provider)), headers=_headers(provider.kind, key), timeout=timeout_s
            )
            response = await self._http.send(request, stream=True)
            await response.aclose()
        except httpx.TimeoutException:
            return _reach(began, reachable=False, reason="provider_timeout")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError):
            return _reach(began, reachable=False, reason="provider_unavailable")
        if response.status_code >= _FAILED_FROM:
            return _reach(began, reachable=False, reason="provider_unavailable")
        if response.status_code in _REFUSED:
            return _reach(began, reachable=True, reason="provider_authentication", refused=True)
        return _reach(began, reachable=True)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()


def _reach(began: float, *, reachable: bool, reason: str = "", refused: bool = False) -> Reach:
    took_ms = round((time.perf_counter() - began) * 1000, 1)
    return Reach(reachable=reachable, refused=refused, reason=reason, response_time_ms=took_ms)


def _url(kind: ProviderKind, at: str) -> str:
    base = at.rstrip("/")
    if kind is ProviderKind.ANTHROPIC:
        return f"{base.removesuffix('/v1')}/v1/models?limit=1"
    if kind is ProviderKind.GOOGLE:
        return f"{base}/models?pageSize=1"
    return f"{base.removesuffix('/beta')}/models"  # DeepSeek's beta path has completions only


def _headers(kind: ProviderKind, key: str) -> dict[str, str]:
    if kind is ProviderKind.ANTHROPIC:
        return {"x-api-key": key, "anthropic-version": _ANTHROPIC_VERSION}
    if kind is ProviderKind.GOOGLE:
        return {"x-goog-api-key": key}
    return {"Authorization": f"Bearer {key}"}
