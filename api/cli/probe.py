"""`ai-provider check --live KIND` and `--ready KIND`: the answer that a supervisor wants, fast and by the exit status.

Loads nothing but the standard library: a supervisor may ask every few seconds, for each process.
"""

from __future__ import annotations

import http.client
import json
import sys
from typing import Final, Literal
from urllib.parse import urlsplit

from infrastructure.core.life.reading import Sign, signs

HTTP_S = 3.0
KINDS: Final = {"web": "web", "worker": "completions", "batch": "batches", "upkeep": "upkeep", "beat": "beat",
                "flower": "flower"}  # fmt: skip
"""Kinds of processes as the Procfile calls them, and as they call themselves."""
PATHS: Final = {"web": {"live": "/health", "ready": "/health/ready"},
                "flower": {"live": "/healthcheck", "ready": "/healthcheck"}}  # fmt: skip
Question = Literal["live", "ready"]


def run(question: Question, kind: str, *, service_id: str | None) -> int:
    """Say in a line, and by the status, whether every process of a kind on this machine is well: 0 yes, 1 no."""
    found = signs(KINDS[kind], service_id=service_id)
    faults = [f"{_named(sign, kind)}: {fault}" for sign in found if (fault := _fault(question, sign))]
    if not found:
        faults = [f"no {kind} runs here" + (f" with the id {service_id}" if service_id else "")]
    if faults:
        sys.stderr.write("".join(f"{line}\n" for line in faults))
        return 1
    sys.stdout.write(f"{kind}: {len(found)} {'lives' if question == 'live' else 'ready'}\n")
    return 0


def _named(sign: Sign, kind: str) -> str:
    return f"{kind} {sign.service_id} (process {sign.pid})"


def _fault(question: Question, sign: Sign) -> str:
    """Say what is wrong with a process; empty: nothing."""
    if not sign.lives:
        return f"no sign of life for {sign.age_s:.0f} s, {sign.hung_s:.0f} s are allowed"
    if sign.url:
        return "" if "start" in sign.missing and question == "live" else _asked(sign.url + PATHS[sign.kind][question])
    if question == "ready" and sign.missing:
        return f"not ready, missing: {', '.join(sign.missing)}"
    return ""


def _asked(url: str) -> str:
    parts = urlsplit(url)
    try:
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=HTTP_S)
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as exc:
        return f"does not answer: {type(exc).__name__}"
    return "" if answer.status == http.HTTPStatus.OK else f"status {answer.status}{_detail(body)}"


def _detail(body: bytes) -> str:
    try:
        return f": {json.loads(body)['detail']}"
    except (ValueError, KeyError, TypeError):
        return ""
