"""A small HTTP client of the job API for tests that drive real processes."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from tests.support.waiting import wait_for

FINAL = {"completed", "failed", "cancelled", "expired"}


class JobsClient:
    """Speaks to a front door at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def submit(self, prompt: str, *, model: str = "sandbox/sandbox-small", **more: Any) -> str:
        """Submit one question and return the job's id."""
        body = {"model": model, "messages": [{"role": "user", "content": prompt}], **more}
        found: str = self._send("POST", "/api/v1/completion", body)["id"]
        return found

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as it is."""
        return self._send("GET", f"/api/v1/jobs/{job_id}")

    def get(self, path: str) -> dict[str, Any]:
        """Return what any other path answers."""
        return self._send("GET", path)

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Cancel a job."""
        return self._send("POST", f"/api/v1/jobs/{job_id}/cancel", {})

    def wait(self, job_id: str, *, within_s: float = 30) -> dict[str, Any]:
        """Return a job once it has ended."""

        def ended() -> dict[str, Any] | None:
            job = self._send("GET", f"/api/v1/jobs/{job_id}?wait=1")
            return job if job["status"] in FINAL else None

        found = wait_for(ended, within_s=within_s, what=f"the end of {job_id}")
        assert found is not None
        return found

    def _send(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
