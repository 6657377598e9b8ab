"""The `ai-provider` command: its commands and options, each doing its work in a module that is loaded when it is called.

Exit status: 0 done, 1 failed (one sentence on standard error says why), 2 wrong usage, 78 bad configuration, 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from api.cli.errors import EXIT_CONFIG, EXIT_FAILURE, EXIT_INTERRUPTED, CommandFailed
from api.cli.options import STYLE, Json, Url
from api.cli.webhook_commands import webhooks

State = Literal["queued", "in_progress", "completed", "failed", "cancelled", "expired"]
Kind = Literal["web", "worker", "batch", "upkeep", "beat", "flower"]
Status = Annotated[State | None, typer.Option(help="Only jobs in this state.")]
Limit = Annotated[int, typer.Option(min=1, max=100, help="Jobs on the page.")]
After = Annotated[str | None, typer.Option(metavar="ID", help="Go on after this job.")]
JobId = Annotated[str, typer.Argument(metavar="ID")]
app = typer.Typer(
    help="A self-hosted, provider-agnostic completion service with a durable queue in the middle.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=STYLE,
    pretty_exceptions_enable=False,
    epilog="Exit status: 0 done, 1 failed, 2 wrong usage, 78 bad configuration, 130 interrupted.",
)


def main() -> None:
    """Run the command line; failures are one sentence, never a traceback."""
    sys.exit(run())


def run() -> int:
    """Run the command that `sys.argv` names and return the exit status."""
    try:
        app(prog_name="ai-provider")
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        return EXIT_FAILURE
    except Exception as exc:  # noqa: BLE001  whatever it is, a person sees one sentence
        return _failed(exc)
    return 0


def _failed(exc: Exception) -> int:
    """Say on standard error what went wrong, and return the exit status."""
    from api.cli import output
    from infrastructure.core.error_core import ConfigError, ServiceError
    from infrastructure.core.logger_core import where

    if isinstance(exc, ConfigError):
        for problem in exc.problems:
            output.fail(f"configuration: {problem}")
        return EXIT_CONFIG
    if isinstance(exc, CommandFailed):
        output.fail(exc.message)
        return exc.status
    if isinstance(exc, ServiceError):
        output.fail(exc.message)
    else:
        place = where(exc)
        output.fail(f"unexpected {place['error_type']} at {place['at']}; please report it")
    return EXIT_FAILURE


@app.command()
def up(
    *,
    port: Annotated[int | None, typer.Option(min=0, max=65_535, help="Port of the API; 0: any free one.")] = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; another than loopback needs an API key.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="Completion workers, one process each; else as many as the queue asks for."),
    ] = None,
    flower: Annotated[bool, typer.Option(help="Run the monitoring UI too.")] = True,
) -> None:
    """Start everything (Redis, API, workers, Flower) and keep it running until Ctrl-C."""
    from api.cli import up as command

    raise typer.Exit(command.run(command.Wanted(host=host, port=port, workers=workers, flower=flower)))


@app.command()
def demo(
    *,
    file: Annotated[
        Path | None, typer.Option(help="JSON lines with a `question` each, in place of the shipped ones.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, max=100_000, help="How many questions to run.")] = None,
    model: Annotated[str, typer.Option(help="Model to ask.")] = "default",
    concurrency: Annotated[int, typer.Option(min=1, max=1_000, help="Jobs in flight.")] = 20,
    keep: Annotated[bool, typer.Option(help="Keep the service running afterwards, until Ctrl-C.")] = False,
) -> None:
    """Start everything, run a file of questions as jobs, show answers and figures, stop everything."""
    from api.cli import demo as command

    wanted = command.Wanted(file=file, count=count, model=model, concurrency=concurrency, keep=keep)
    raise typer.Exit(command.run(wanted))


@app.command()
def submit(
    prompt: Annotated[str, typer.Argument(help="The words to send; - reads them from standard input.")],
    *,
    model: Annotated[str, typer.Option(help="Logical model, provider/model, or a model's own name.")] = "default",
    system: Annotated[str | None, typer.Option(help="A system message to go before.")] = None,
    priority: Annotated[Literal["high", "normal", "low"] | None, typer.Option(help="Class of the queue.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait for the answer.")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Most seconds to wait.")] = 600,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Submit a completion: writes the job's id, or with --wait the answer."""
    from api.cli import submit as command

    wanted = command.Wanted(
        prompt=prompt, model=model, system=system, priority=priority, wait=wait, timeout_s=timeout, url=url, as_json=as_json
    )  # fmt: skip
    raise typer.Exit(command.run(wanted))


class _Jobs(TyperGroup):
    """Its commands; a job's id in the place of one shows that job."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Read `jobs job_…` as `jobs show job_…`."""
        return super().resolve_command(ctx, ["show", *args] if args[0].startswith("job_") else args)


jobs = typer.Typer(
    cls=_Jobs, help="List, show, watch, cancel and retry jobs.", invoke_without_command=True, rich_markup_mode=STYLE
)
app.add_typer(jobs, name="jobs")


@jobs.callback()
def jobs_default(
    context: typer.Context,
    *,
    status: Status = None,
    limit: Limit = 20,
    after: After = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List, show, watch, cancel and retry jobs; without a command: list."""
    if context.invoked_subcommand is None:
        jobs_list(status=status, limit=limit, after=after, url=url, as_json=as_json)


@jobs.command("list")
def jobs_list(
    *, status: Status = None, limit: Limit = 20, after: After = None, url: Url = None, as_json: Json = False
) -> None:
    """List jobs, newest first."""
    from api.cli import jobs as command

    command.list_jobs(url=url, status=status, limit=limit, after=after, as_json=as_json)


@jobs.command("show")
def jobs_show(job_id: JobId, *, url: Url = None, as_json: Json = False) -> None:
    """Show a job and its answer."""
    from api.cli import jobs as command

    command.show(job_id, url=url, as_json=as_json)


@jobs.command("cancel")
def jobs_cancel(job_id: JobId, *, url: Url = None, as_json: Json = False) -> None:
    """Cancel a job; one that has ended stays as it is."""
    from api.cli import jobs as command

    command.cancel(job_id, url=url, as_json=as_json)


@jobs.command("watch")
def jobs_watch(job_id: JobId, *, url: Url = None, as_json: Json = False) -> None:
    """Write what happens to a job, line by line until it ends; with exit status 1 when it did not complete."""
    from api.cli import watch as command

    raise typer.Exit(command.run(job_id, url=url, as_json=as_json))


@jobs.command("dead")
def jobs_dead(
    *,
    retry: Annotated[str | None, typer.Option(metavar="ID", help="Retry this dead letter, as a new job.")] = None,
    retry_all: Annotated[bool, typer.Option("--retry-all", help="Retry all that were not retried yet.")] = False,
    limit: Limit = 20,
    after: After = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List dead letters: jobs that killed each worker that ran them; or retry them, each alone with no other job."""
    from api.cli import dead as command

    if retry is not None:
        command.retry(retry, url=url, as_json=as_json)
    elif retry_all:
        command.retry_all(url=url, as_json=as_json)
    else:
        command.list_dead(url=url, limit=limit, after=after, as_json=as_json)


@app.command()
def check(
    *,
    live: Annotated[Kind | None, typer.Option(help="Only: does every process of this kind here live?")] = None,
    ready: Annotated[Kind | None, typer.Option(help="Only: is every process of this kind here ready?")] = None,
    service_id: Annotated[
        str | None, typer.Option("--id", help="With --live or --ready: only the process of this id.")
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Check the configuration, Redis and the service, changing nothing; or probe one kind of process for a supervisor."""
    if live is not None or ready is not None:
        from api.cli import probe

        asked: list[tuple[probe.Question, str | None]] = [("live", live), ("ready", ready)]
        raise typer.Exit(
            max(probe.run(question, kind, service_id=service_id) for question, kind in asked if kind is not None)
        )
    from api.cli import check as command

    raise typer.Exit(command.run(url=url, as_json=as_json))


keys = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True, rich_markup_mode=STYLE)
app.add_typer(keys, name="keys")


@keys.command("create")
def keys_create(
    *,
    tenant: Annotated[str, typer.Argument(metavar="[TENANT]", help="Whose jobs it submits and sees.")] = "default",
    operator: Annotated[
        bool, typer.Option("--operator", help="May also see providers, metrics and configuration.")
    ] = False,
    name: Annotated[str, typer.Option(help="A note on what it is for.")] = "",
    queued: Annotated[
        int | None,
        typer.Option(min=1, help="Most jobs of its tenant that may wait, in place of limits.queued_per_tenant."),
    ] = None,
) -> None:
    """Make a key and show it, once. From the first key on, every caller needs one."""
    from api.cli import keys as command

    command.create(tenant=tenant, operator=operator, name=name, queued=queued)


@keys.command("list")
def keys_list(*, as_json: Json = False) -> None:
    """List all keys, without what proves them."""
    from api.cli import keys as command

    command.list_keys(as_json=as_json)


@keys.command("revoke")
def keys_revoke(key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, or the key.")]) -> None:
    """Revoke a key: within seconds nobody accepts it any more."""
    from api.cli import keys as command

    command.revoke(key_id)


app.add_typer(webhooks, name="webhooks")


@app.command()
def providers(
    *,
    cost: Annotated[bool, typer.Option("--cost", help="What their calls cost.")] = False,
    by: Annotated[
        Literal["tenant", "provider", "model", "day"], typer.Option(help="With --cost: a row for each.")
    ] = "model",
    days: Annotated[int, typer.Option(min=1, max=90, help="With --cost: so many days, today included.")] = 1,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show how the providers do: health, breakers, score, price; without a running service: what is configured."""
    from api.cli import providers as command

    if cost:
        command.show_costs(url=url, days=days, by=by, as_json=as_json)
    else:
        command.show(url=url, as_json=as_json)


config = typer.Typer(help="Show and check the configuration.", no_args_is_help=True, rich_markup_mode=STYLE)
app.add_typer(config, name="config")


@config.command("show")
def config_show(*, as_json: Json = False) -> None:
    """Show every value and where it comes from; secrets are masked."""
    from api.cli import config as command

    command.show(as_json=as_json)


@config.command("explain")
def config_explain(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Dotted, such as cache.ttl or providers.openai.priority.")],
    *,
    as_json: Json = False,
) -> None:
    """Explain one setting: what each layer says of it, what it means, what it may be; secrets are masked."""
    from api.cli import config as command

    command.explain(key, as_json=as_json)


@config.command("schema")
def config_schema() -> None:
    """Write the JSON schema of a configuration file, with every range."""
    from api.cli import config as command

    command.write_schema()


@config.command("check")
def config_check() -> None:
    """Check the configuration; every fault is told, with exit status 78."""
    from api.cli import config as command

    command.check()
