"""How many event streams one front door holds open, in all and of one tenant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from infrastructure.core.config_core.settings import Limits
from infrastructure.core.error_core import StreamsFull, TooManyStreams

RETRY_S = 5


class StreamPlaces:
    """The open streams of a process, counted by tenant."""

    def __init__(self) -> None:
        self._of_tenant: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._of_tenant.total()

    @contextmanager
    def taken(self, tenant: str, limits: Limits) -> Iterator[None]:
        """Count a stream of a tenant while the block runs.

        Raises:
            TooManyStreams: the tenant has `limits.tenant_streams` open.
            StreamsFull: this process has `limits.streams` open.
        """
        if self._of_tenant[tenant] >= limits.tenant_streams:
            raise TooManyStreams(
                f"expected at most {limits.tenant_streams} event streams of a tenant open at one front door, got another",
                retry_after_s=RETRY_S,
            )
        if len(self) >= limits.streams:
            raise StreamsFull(
                f"expected at most {limits.streams} event streams open, got another", retry_after_s=RETRY_S
            )
        self._of_tenant[tenant] += 1
        try:
            yield
        finally:
            self._of_tenant[tenant] -= 1
            if not self._of_tenant[tenant]:
                del self._of_tenant[tenant]
