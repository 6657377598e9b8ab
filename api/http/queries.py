"""Query parameters that a route does not know are refused by name: one that is mistyped must not be passed over."""

from __future__ import annotations

from fastapi import Request
from fastapi.routing import APIRoute

from infrastructure.core.error_core import ValidationFailed
from workers.jobs.request.faults import nearest_hint, shown_name

MOST = 20


async def only_known(request: Request) -> None:
    """Let a request through whose query has no other parameters than the route's.

    Raises:
        ValidationFailed: it has; each is listed, with the nearest one that there is.
    """
    if not request.scope["query_string"]:
        return
    route = request.scope["route"]
    known = _known(route) if isinstance(route, APIRoute) else []
    if unknown := [name for name in dict.fromkeys(request.query_params) if name not in known]:
        raise ValidationFailed(
            "the query has parameters that this route does not know; each is listed in errors",
            errors=[{"field": shown_name(name), "message": _message(name, known)} for name in unknown[:MOST]],
        )


def _known(route: APIRoute) -> list[str]:
    """Return what the route's query may have: its own parameters, not those of what it depends on, which have none."""
    return [field.alias for field in route.dependant.query_params]


def _message(name: str, known: list[str]) -> str:
    there = f"there are {', '.join(known)}" if known else "there are none here"
    return "no such parameter" + (nearest_hint(name, known) or f"; {there}")
