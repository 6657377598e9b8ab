"""What workers know of prices, told to those who cannot know: only a worker has the price table.

key       type    expiry    meaning
prices    hash    7 days    provider:model (both quoted) -> USD for a token in and out, `-` where unknown
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, unquote

from redis.asyncio import Redis

from infrastructure.core.redis_core import store_errors

KEPT_S = 7 * 86_400
UNKNOWN = b"-"
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """USD for one token of the prompt and one of the answer."""

    input_usd: float
    output_usd: float


class PriceBoard:
    """The prices of one prefix. Every method raises StoreError when Redis does not answer."""

    def __init__(self, redis: Redis, *, prefix: str) -> None:
        self._redis = redis
        self._name = f"{prefix}:prices"

    async def tell(self, prices: Mapping[Key, TokenPrice | None]) -> None:
        """Write the prices of provider and model; None: nobody knows."""
        if not prices:
            return
        told: dict[Any, Any] = {_field(key): _text(price) for key, price in prices.items()}
        with store_errors():
            async with self._redis.pipeline(transaction=False) as pipe:
                pipe.hset(self._name, mapping=told)
                pipe.expire(self._name, KEPT_S)
                await pipe.execute()

    async def read(self) -> dict[Key, TokenPrice | None]:
        """Return all prices that were told within a week."""
        with store_errors():
            found: dict[Any, Any] = await self._redis.hgetall(self._name)
        return {_key(field): _price(text) for field, text in found.items()}


def _field(key: Key) -> str:
    return ":".join(quote(part, safe="") for part in key)


def _key(field: bytes) -> Key:
    provider, _, model = field.decode().partition(":")
    return unquote(provider), unquote(model)


def _text(price: TokenPrice | None) -> bytes:
    return UNKNOWN if price is None else f"{price.input_usd!r} {price.output_usd!r}".encode()


def _price(text: bytes) -> TokenPrice | None:
    try:
        input_usd, output_usd = (float(part) for part in text.split())
    except ValueError:
        return None
    return TokenPrice(input_usd, output_usd)
