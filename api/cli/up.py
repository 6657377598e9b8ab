"""`ai-provider up`: starts everything, says where it is, keeps it running until Ctrl-C."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from urllib.parse import urlsplit

from rich.text import Text

from api.cli import output, reach
from api.cli.errors import CommandFailed
from api.cli.sandbox import why_sandbox
from api.cli.stack import Plan, Stack
from api.cli.supervisor import Verdict
from infrastructure.core.addresses import http_url
from infrastructure.core.config_core import Environment, Loaded, Settings, data_dir, load, sandbox_wanted
from infrastructure.core.error_core import ConfigError
from infrastructure.core.redis_core import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the person asked for; None: as configured."""

    host: str | None = None
    port: int | None = None
    workers: int | None = None
    flower: bool = True


def run(wanted: Wanted) -> int:
    """Run until a signal; return 0 then, 1 when a process cannot be kept, 78 when its configuration is bad.

    Raises:
        CommandFailed, ConfigError, StoreUnavailable: it cannot start.
    """
    loaded = load()
    check_providers(loaded.settings)
    plan = plan_of(loaded, wanted)
    return finish(asyncio.run(_up(loaded, plan)))


def check_providers(settings: Settings) -> None:
    """Refuse to run where nobody could answer.

    Raises:
        ConfigError: in production no provider has a key, and the sandbox was not asked for by name.
    """
    if settings.environment is Environment.PRODUCTION and not settings.in_use() and not sandbox_wanted(settings):
        raise ConfigError(
            [
                "no provider has a key: set OPENAI_API_KEY or the like, or ask for the sandbox by AI_PROVIDER_SANDBOX_MODE=on"
            ]
        )


def plan_of(loaded: Loaded, wanted: Wanted) -> Plan:
    """Return where to listen.

    Raises:
        CommandFailed: somebody else listens there.
    """
    settings = loaded.settings
    host = wanted.host if wanted.host is not None else settings.service.host
    port = wanted.port if wanted.port is not None else settings.service.port
    port = port or reach.free_port()
    if not reach.is_free(host, port):
        raise CommandFailed(_taken(settings, host, port))
    return Plan(host=host, port=port, workers=wanted.workers, flower_port=_flower_port(settings, wanted))


def finish(verdict: Verdict) -> int:
    """Say why everything was stopped, unless a person asked for it, and return the exit status."""
    if verdict.message:
        output.fail(verdict.message)
    return verdict.status


async def _up(loaded: Loaded, plan: Plan) -> Verdict:
    log = output.Log()
    async with Stack(loaded, plan, say=log) as stack:
        if stack.sandbox_url and await stack.sandbox_answers():
            log("sandbox", f"answers at {stack.sandbox_url}: {why_sandbox(stack.settings)}, so its answers are made up")
        if await stack.ready():
            _announce(stack, plan)
        verdict = await stack.verdict
        output.say("\nStopping.", style="bold")
    return verdict


def _announce(stack: Stack, plan: Plan) -> None:
    settings = stack.settings_of_processes()
    rows = [("API", f"{stack.url}/api/v1"), ("Docs", f"{stack.url}/docs")]
    if plan.flower_port is not None:
        rows.append(("Flower", http_url(settings.flower.host, plan.flower_port)))
    rows += [("Redis", redis_line(stack)), ("Providers", providers_line(settings))]
    output.say()
    output.stdout().print(Text("AI Provider is up", style="bold green"))
    output.fields(rows)
    output.say(
        f'\n  Try it:  {output.command_name()} submit "Why is the sky blue?" --wait{_url_option(stack, settings)}'
    )
    output.say("  Ctrl-C stops everything.\n")


def redis_line(stack: Stack) -> str:
    """Say which Redis is used, without its credentials."""
    if stack.embedded:
        return f"embedded ({shown(stack.redis_url)}), data in {data_dir(stack.settings) / 'redis'}"
    return shown(stack.redis_url)


def providers_line(settings: Settings) -> str:
    """Say which providers are in use."""
    names = list(settings.in_use())
    if not names:
        return "none: set OPENAI_API_KEY, ANTHROPIC_API_KEY, GOOGLE_API_KEY or DEEPSEEK_API_KEY"
    if all(name.startswith("sandbox") for name in names):
        return "sandbox (answers are made up, nothing is charged; OPENAI_API_KEY and the like switch to real ones)"
    return ", ".join(names)


def _url_option(stack: Stack, settings: Settings) -> str:
    """Return what `submit` has to be told when the front door is not where it looks by itself."""
    usual = load().settings.service
    here = urlsplit(stack.url).port == usual.port and settings.service.host == usual.host
    return "" if here else f" --url {stack.url}"


def _flower_port(settings: Settings, wanted: Wanted) -> int | None:
    if not wanted.flower:
        return None
    port = settings.flower.port or reach.free_port()
    if not reach.is_free(settings.flower.host, port):
        raise CommandFailed(
            f"Flower's port {port} is taken by another program: choose one with AI_PROVIDER_FLOWER_PORT, or --no-flower"
        )
    return port


def _taken(settings: Settings, host: str, port: int) -> str:
    url = http_url(host, port)
    if reach.is_service(url, name=settings.service.name):
        return f"the service already runs at {url}: use it as it is, stop it, or choose another port with --port"
    return f"port {port} is taken by another program: stop that one, or choose another port with --port"
