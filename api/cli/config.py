"""`ai-provider config` and `ai-provider providers`: what is configured, where each value comes from, what it leads to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from api.cli import output
from api.cli.errors import CommandFailed
from api.cli.sandbox import why_sandbox
from infrastructure.core.config_core import Loaded, Provider, Settings, Sources, load, sandbox_wanted
from infrastructure.core.config_core.explaining import Explanation, explain_key, nearest
from infrastructure.core.config_core.faults import did_you_mean
from infrastructure.core.config_core.nearby import near_misses
from infrastructure.core.config_core.trees import leaves, schema
from infrastructure.core.config_core.whole import marked

DEFAULT = "default"
MOST_LISTED = 15
SANDBOX_ACCOUNTS = ("sandbox", "sandbox-anthropic")


def check() -> None:
    """Say that the configuration is good.

    Raises:
        ConfigError: with every fault found.
    """
    loaded = load()
    settings = loaded.settings
    output.say(f"The configuration is valid (environment {settings.environment.value}, version {settings.version}).")
    for variable, near in near_misses(settings, Sources()):
        output.note(f"{variable} sets nothing; did you mean {near}?")
    if open_ended := [path.name for path, (content, _) in loaded.files.items() if not marked(content)]:
        output.note(
            f"Running processes refuse a change of {', '.join(open_ended)} that looks like a file cut while it was written, such "
            "as the loss of its last key. Their log, and configuration.last_failure in /api/v1/infrastructure/metrics, tell "
            "why; a file that begins with a line --- and ends with a line ... is believed."
        )


def show(*, as_json: bool) -> None:
    """Write every value with where it comes from; secrets are masked."""
    loaded = load()
    rows = [(key, value, _origin(key, loaded.origins)) for key, value in leaves(loaded.settings)]
    if as_json:
        output.dump({key: {"value": value, "origin": origin} for key, value, origin in rows})
    else:
        output.table(("key", "value", "origin"), rows)


def explain(key: str, *, as_json: bool) -> None:
    """Write all that is known of one key: its value, what every layer says of it, its meaning, range and names.

    Raises:
        CommandFailed: there is no such key, or it is a section.
    """
    loaded = load()
    found = explain_key(key, loaded)
    if found is None:
        known = _known(loaded)
        if inner := [one for one in known if one.startswith(f"{key}.")]:
            raise CommandFailed(f"{key}: a section; its settings are {', '.join(_parts(key, inner))}")
        raise CommandFailed(
            f"{key}: {_missing_provider(key, loaded.settings) or f'no such setting{did_you_mean(key, known)}'}"
        )
    if as_json:
        output.dump(found.as_json())
    else:
        _write(found)


def _parts(section: str, inner: Sequence[str]) -> list[str]:
    """Return a section's settings; of a long list the sections in it, each as `name.…`."""
    if len(inner) <= MOST_LISTED:
        return list(inner)
    depth = section.count(".") + 2
    heads = {".".join(one.split(".")[:depth]): one.count(".") >= depth for one in inner}
    return [f"{head}.…" if deeper else head for head, deeper in heads.items()]


def _missing_provider(key: str, settings: Settings) -> str | None:
    """Say that there is no provider of this name; None where the key is about something else."""
    section, _, name = key.partition(".")
    name = name.partition(".")[0]
    if section != "providers" or not name or name in {*settings.providers, "enabled"}:
        return None
    made = "; `ai-provider up` makes it where the sandbox answers (sandbox.mode)" if name in SANDBOX_ACCOUNTS else ""
    return f"no provider {name} is configured{made}; there are {', '.join(settings.providers)}{did_you_mean(name, settings.providers)}"


def write_schema() -> None:
    """Write the JSON schema of a configuration file."""
    output.dump(schema())


def providers(*, as_json: bool) -> None:
    """Write every configured provider, and whether it is in use or why it is not."""
    settings = load().settings
    rows = [_provider_row(name, provider, settings) for name, provider in settings.providers.items()]
    if as_json:
        names = ("name", "kind", "state", "models", "base_url")
        output.dump([dict(zip(names, row, strict=True)) for row in rows])
        return
    output.table(("name", "kind", "state", "models", "base URL"), rows)
    if sandbox_wanted(settings):
        output.note(f"`up` and `demo` use the sandbox ({why_sandbox(settings)}), whose answers are made up.")


def _write(found: Explanation) -> None:
    output.fields([
        ("key", found.key),
        ("value", found.value),
        ("origin", found.origin),
        ("means", found.meaning or "-"),
        ("allowed", found.allowed),
        ("default", found.default),
        ("takes effect", found.takes_effect),
        ("variables", ", ".join(found.variables) or "-"),
        ("secrets", ", ".join(found.secrets) or "-"),
    ])  # fmt: skip
    if found.said:
        output.say("\nWhat the layers say, the last one holds:")
        output.table(("layer", "value"), [(origin, value) for origin, value in found.said])


def _known(loaded: Loaded) -> list[str]:
    return [key for key, _ in leaves(loaded.settings)]


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Return where a value comes from; tables such as `models` are known by their own key."""
    found = origins[path] if (path := nearest(key, origins)) else DEFAULT
    return found.rpartition("/")[2] if found.endswith(".yml") else found


def _provider_row(name: str, provider: Provider, settings: Settings) -> tuple[str, ...]:
    host = urlsplit(provider.base_url).netloc.rpartition("@")[2] if provider.base_url else "-"
    return name, provider.kind.value, _state(name, provider, settings), " ".join(provider.models) or "-", host


def _state(name: str, provider: Provider, settings: Settings) -> str:
    if name in settings.in_use():
        return "in use"
    if name not in settings.enabled:
        return "not in providers.enabled"
    if provider.needs_key:
        return f"no key: set {name.upper().replace('-', '_')}_API_KEY"
    return "no base_url"
