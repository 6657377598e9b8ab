"""The commands and options of `ai-provider webhooks`."""

from __future__ import annotations

from typing import Annotated

import typer

from api.cli.options import STYLE, Json, Url

webhooks = typer.Typer(help="Register endpoints that hear of jobs' ends.", no_args_is_help=True, rich_markup_mode=STYLE)
WebhookId = Annotated[str, typer.Argument(metavar="ID", help="The endpoint's id.")]


@webhooks.command("create")
def webhooks_create(
    address: Annotated[str, typer.Argument(metavar="URL", help="https, on a public host.")],
    *,
    description: Annotated[str, typer.Option(help="A note on what it is for.")] = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Register an endpoint and show its secret, once; a job names the endpoint by its id."""
    from api.cli import webhooks as command

    command.create(address, description=description, url=url, as_json=as_json)


@webhooks.command("list")
def webhooks_list(*, url: Url = None, as_json: Json = False) -> None:
    """List endpoints, newest first."""
    from api.cli import webhooks as command

    command.list_endpoints(url=url, as_json=as_json)


@webhooks.command("show")
def webhooks_show(endpoint_id: WebhookId, *, url: Url = None, as_json: Json = False) -> None:
    """Show an endpoint."""
    from api.cli import webhooks as command

    command.show(endpoint_id, url=url, as_json=as_json)


@webhooks.command("enable")
def webhooks_enable(endpoint_id: WebhookId, *, url: Url = None, as_json: Json = False) -> None:
    """Enable an endpoint; what waited for it is sent."""
    from api.cli import webhooks as command

    command.enable(endpoint_id, enabled=True, url=url, as_json=as_json)


@webhooks.command("disable")
def webhooks_disable(endpoint_id: WebhookId, *, url: Url = None, as_json: Json = False) -> None:
    """Disable an endpoint; what is to be sent to it waits, up to a week."""
    from api.cli import webhooks as command

    command.enable(endpoint_id, enabled=False, url=url, as_json=as_json)


@webhooks.command("rotate")
def webhooks_rotate(endpoint_id: WebhookId, *, url: Url = None, as_json: Json = False) -> None:
    """Give an endpoint a new secret and show it; for a day, by default, the old one signs beside it."""
    from api.cli import webhooks as command

    command.rotate(endpoint_id, url=url, as_json=as_json)


@webhooks.command("delete")
def webhooks_delete(endpoint_id: WebhookId, *, url: Url = None) -> None:
    """Remove an endpoint; what waits for it is not sent."""
    from api.cli import webhooks as command

    command.delete(endpoint_id, url=url)


@webhooks.command("test")
def webhooks_test(endpoint_id: WebhookId, *, url: Url = None, as_json: Json = False) -> None:
    """Send an endpoint a test event."""
    from api.cli import webhooks as command

    command.test(endpoint_id, url=url, as_json=as_json)


@webhooks.command("deliveries")
def webhooks_deliveries(
    endpoint_id: WebhookId,
    *,
    limit: Annotated[int, typer.Option(min=1, max=100, help="Deliveries on the page.")] = 20,
    after: Annotated[str | None, typer.Option(metavar="ID", help="Go on after this delivery.")] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List what was or is to be sent to an endpoint, newest first."""
    from api.cli import webhooks as command

    command.deliveries(endpoint_id, limit=limit, after=after, url=url, as_json=as_json)


@webhooks.command("replay")
def webhooks_replay(
    endpoint_id: WebhookId,
    delivery_id: Annotated[str, typer.Argument(metavar="DELIVERY", help="The delivery's id.")],
    *,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Send an event again, under its old id."""
    from api.cli import webhooks as command

    command.replay(endpoint_id, delivery_id, url=url, as_json=as_json)
