"""Which server has which roles, by the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from infrastructure.core.config_core import Settings
from infrastructure.core.redis_check.findings import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """One URL with its roles; it is judged by the strictest, which is the first."""

    url: str = field(repr=False)
    roles: tuple[Role, ...]

    @property
    def name(self) -> str:
        """Return what findings about it are called: redis.jobs, redis.broker, redis.cache."""
        return f"redis.{self.roles[0].value}"


def servers(settings: Settings, *, embedded_url: str | None = None) -> list[Server]:
    """Return the servers in use; none without a URL. `embedded_url` stands for `redis.url` where an embedded server runs."""
    by_url: dict[str, list[Role]] = {}
    for role, url in _urls(settings, embedded_url):
        by_url.setdefault(url, []).append(role)
    return [Server(url=url, roles=tuple(roles)) for url, roles in by_url.items()]


def _urls(settings: Settings, embedded_url: str | None) -> Iterator[tuple[Role, str]]:
    redis = settings.redis
    jobs = redis.url.get_secret_value() if redis.url else embedded_url
    broker = redis.broker_url.get_secret_value() if redis.broker_url else jobs
    cache = settings.cache.redis_url.get_secret_value() if settings.cache.redis_url else jobs
    found = ((Role.JOBS, jobs), (Role.BROKER, broker), (Role.CACHE, cache))
    return ((role, url) for role, url in found if url)
