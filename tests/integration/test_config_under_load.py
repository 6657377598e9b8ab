"""Reloads under a stream of requests: none fails, none sees two versions. The full length is `make bench`'s."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.reload_load import run

pytestmark = pytest.mark.anyio


async def test_no_request_fails_or_sees_two_versions_while_the_configuration_is_reloaded(
    redis_url: str, tmp_path: Path
) -> None:
    seen = await run(redis_url, tmp_path, reloads=60, requests_per_s=60)

    assert (seen.good, seen.refused) == (54, 6)
    assert set(seen.statuses) == {200, 202}
    assert seen.mixed == []
    assert len(seen.versions) > 10  # they did change under the requests
