"""The wall's instances: each with its profile, its limits, and its memory of how many calls it has had."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from typing import Any

from workers.providers.sandbox.asked import Asked
from workers.providers.sandbox.limiter import Limiter
from workers.providers.sandbox.profiles import MOST_INSTANCES, PROFILES, Profile

_SHARE_OF = 0x10000


class Instance:
    """One provider of the wall."""

    def __init__(self, profile: Profile, *, limiter: Limiter | None = None) -> None:
        self.profile = profile
        self.limiter = limiter or Limiter(profile.limits)
        self._calls = 0

    @property
    def counts_tokens(self) -> bool:
        """Say whether anything here depends on an answer's length."""
        return self.profile.limits.tokens_per_minute is not None or self.profile.per_token_s > 0

    def pause_s(self, asked: Asked, *, answer_tokens: int) -> float:
        """Return the seconds that a good answer to this takes."""
        profile = self.profile
        self._calls += 1
        warming = max(0, profile.cold_calls - self._calls + 1)
        cold_s = profile.cold_s * warming / profile.cold_calls if profile.cold_calls else 0.0
        return profile.latency_s + profile.jitter_s * share_of(asked) + profile.per_token_s * answer_tokens + cold_s


def share_of(asked: Asked) -> float:
    """Return a number from 0 to 1 that a conversation always has, by its digest."""
    return (asked.digest & (_SHARE_OF - 1)) / _SHARE_OF


class Instances:
    """All instances by name; one that was never described has the profile of the sandbox itself."""

    def __init__(self, usual: Profile) -> None:
        self._usual = Instance(usual)
        self._by_name: dict[str, Instance] = {}
        self._serial = count(1)

    def of(self, name: str) -> Instance:
        """Return an instance."""
        return self._by_name.get(name, self._usual)

    def next_serial(self) -> int:
        """Return a number that no answer had before."""
        return next(self._serial)

    def read(self, described: bytes) -> dict[str, Profile]:
        """Return the profiles that a JSON object of them by name describes.

        Raises:
            ValueError: one is malformed, or there would be too many instances.
        """
        profiles = PROFILES.validate_json(described)
        if len(self._by_name.keys() | profiles.keys()) > MOST_INSTANCES:
            raise ValueError(f"expected at most {MOST_INSTANCES} instances, got more")
        return profiles

    def set(self, profiles: Mapping[str, Profile]) -> None:
        """Give instances these profiles; the others stay. Limits that do not change go on counting."""
        for name, profile in profiles.items():
            old = self._by_name.get(name)
            kept = old.limiter if old is not None and old.profile.limits == profile.limits else None
            self._by_name[name] = Instance(profile, limiter=kept)

    def clear(self) -> None:
        """Forget all profiles."""
        self._by_name.clear()

    def shown(self) -> dict[str, Any]:
        """Return the profiles that were set, without what is as usual."""
        return {name: one.profile.model_dump(exclude_defaults=True) for name, one in sorted(self._by_name.items())}
