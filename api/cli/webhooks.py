"""`ai-provider webhooks`: endpoints registered, shown, changed; their deliveries listed and sent again."""

from __future__ import annotations

from typing import Any

from api.cli import output
from api.cli.client import Client

KEEP = "Keep the secret now: it is not shown again."
Endpoint = dict[str, Any]


def create(address: str, *, description: str, url: str | None, as_json: bool) -> None:
    """Register an endpoint and write its id and secret, the only time that the secret is seen."""
    with Client.from_options(url) as client:
        made = client.webhooks("POST", json={"url": address, "description": description})
    _write_secret(made, as_json=as_json)


def list_endpoints(*, url: str | None, as_json: bool) -> None:
    """Write the tenant's endpoints."""
    with Client.from_options(url) as client:
        page = client.webhooks("GET")
    if as_json:
        output.dump(page)
        return
    if not page["data"] and output.stdout().is_terminal:
        output.say("No webhook endpoints.")
        return
    output.table(("id", "state", "created", "description", "url"), list(map(_row, page["data"])))


def show(endpoint_id: str, *, url: str | None, as_json: bool) -> None:
    """Write all that is known of an endpoint."""
    with Client.from_options(url) as client:
        _write(client.webhooks("GET", endpoint_id), as_json=as_json)


def enable(endpoint_id: str, *, enabled: bool, url: str | None, as_json: bool) -> None:
    """Enable an endpoint, which sends what waits, or disable it."""
    with Client.from_options(url) as client:
        _write(client.webhooks("PATCH", endpoint_id, json={"enabled": enabled}), as_json=as_json)


def rotate(endpoint_id: str, *, url: str | None, as_json: bool) -> None:
    """Give an endpoint a new secret and write it."""
    with Client.from_options(url) as client:
        _write_secret(client.webhooks("POST", endpoint_id, "rotate"), as_json=as_json)


def delete(endpoint_id: str, *, url: str | None) -> None:
    """Remove an endpoint."""
    with Client.from_options(url) as client:
        gone = client.webhooks("DELETE", endpoint_id)
    output.say(f"{gone['id']} deleted")


def test(endpoint_id: str, *, url: str | None, as_json: bool) -> None:
    """Send an endpoint a test event and write the delivery's id."""
    with Client.from_options(url) as client:
        _write_delivery(client.webhooks("POST", endpoint_id, "test"), as_json=as_json)


def deliveries(endpoint_id: str, *, limit: int, after: str | None, url: str | None, as_json: bool) -> None:
    """Write a page of an endpoint's deliveries, newest first."""
    params = {"limit": limit, **({"after": after} if after else {})}
    with Client.from_options(url) as client:
        page = client.webhooks("GET", endpoint_id, "deliveries", params=params)
    if as_json:
        output.dump(page)
        return
    headings = ("id", "status", "type", "about", "created", "attempts", "last", "next")
    output.table(headings, list(map(_delivery_row, page["data"])))
    if page["has_more"]:
        output.note(f"more: --after {page['data'][-1]['id']}")


def replay(endpoint_id: str, delivery_id: str, *, url: str | None, as_json: bool) -> None:
    """Send an event again."""
    with Client.from_options(url) as client:
        _write_delivery(client.webhooks("POST", endpoint_id, "deliveries", delivery_id, "replay"), as_json=as_json)


def _write(endpoint: Endpoint, *, as_json: bool) -> None:
    if as_json:
        output.dump(endpoint)
        return
    facts = {name: endpoint[name] for name in ("id", "url", "description", "created_at", "updated_at")}
    output.fields([("state", _state(endpoint)), *((name, value) for name, value in facts.items() if value)])


def _write_secret(endpoint: Endpoint, *, as_json: bool) -> None:
    if as_json:
        output.dump(endpoint)
    else:
        output.say(f"{endpoint['id']} {endpoint['secret']}")
    output.note(KEEP)


def _write_delivery(delivery: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        output.dump(delivery)
    else:
        output.say(f"{delivery['id']} {delivery['status']}")


def _row(endpoint: Endpoint) -> tuple[str, ...]:
    return (
        endpoint["id"],
        _state(endpoint),
        output.age(endpoint["created_at"]),
        endpoint["description"],
        endpoint["url"],
    )


def _state(endpoint: Endpoint) -> str:
    if endpoint["enabled"]:
        return "enabled"
    return f"disabled ({endpoint['disabled_reason']})" if endpoint["disabled_reason"] else "disabled"


def _delivery_row(delivery: dict[str, Any]) -> tuple[str, ...]:
    attempts = delivery["attempts"]
    last = attempts[-1] if attempts else {}
    return (
        delivery["id"],
        delivery["status"],
        delivery["type"],
        delivery["data"]["id"],
        output.age(delivery["created_at"]),
        str(len(attempts)),
        " ".join(str(part) for part in (last.get("status"), last.get("error")) if part is not None) or "-",
        delivery["next_attempt_at"] or "-",
    )
