"""The section about the front door, where one can be reached: does it live, is it ready."""

from __future__ import annotations

from typing import Any

import httpx

from infrastructure.core.redis_check import Finding, Status

ASK_S = 3.0


async def findings(url: str) -> list[Finding]:
    """Return what a front door says of itself; where none answers that is no failure."""
    async with httpx.AsyncClient(timeout=ASK_S, trust_env=False) as client:
        try:
            answer = await client.get(f"{url}/health")
        except httpx.HTTPError as exc:
            found = f"nothing answers at {url} ({type(exc).__name__})"
            return [Finding(id="service.live", status=Status.SKIPPED, found=found)]
        if answer.status_code != httpx.codes.OK or "service" not in _json(answer):
            found = f"what answers at {url} is no front door of this service (status {answer.status_code})"
            return [
                Finding(
                    id="service.live",
                    status=Status.FAILED,
                    found=found,
                    stake="clients reach another program",
                    mend="give --url, or free the port",
                )
            ]
        live = Finding(
            id="service.live",
            status=Status.PASSED,
            found=f"{url} answers, version {_json(answer).get('version') or 'unknown'}",
        )
        return [live, await _ready(client, url)]


async def _ready(client: httpx.AsyncClient, url: str) -> Finding:
    try:
        answer = await client.get(f"{url}/health/ready")
    except httpx.HTTPError as exc:
        found, detail = f"no answer ({type(exc).__name__})", ""
    else:
        if answer.status_code == httpx.codes.OK:
            return Finding(id="service.ready", status=Status.PASSED, found="jobs are taken")
        found, detail = f"status {answer.status_code}", str(_json(answer).get("detail", ""))
    return Finding(
        id="service.ready", status=Status.FAILED, found=f"{found} {detail}".strip(), stake="submits are answered 503", mend="see the findings about Redis"
    )  # fmt: skip


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
