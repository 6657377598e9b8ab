"""The sections about the configuration: is it valid, which providers are in use, where the keys' secret is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from api.cli.sandbox import why_sandbox
from infrastructure.core.config_core import Environment, Loaded, Settings, Sources, data_dir, sandbox_wanted
from infrastructure.core.config_core.nearby import near_misses
from infrastructure.core.error_core import ConfigError
from infrastructure.core.redis_check import Finding, Status
from infrastructure.core.service_secret import FILE, MIN_CHARACTERS

NO_ANSWER = "no job can be answered"


def invalid(error: ConfigError) -> list[Finding]:
    """Return the findings of a configuration that cannot be read: one for each fault."""
    return [
        Finding(
            id="config.valid", status=Status.FAILED, found=str(problem), stake="processes refuse to start, with status 78",
            mend="correct it; `ai-provider config explain KEY` tells what a setting may be",
        )
        for problem in error.problems
    ]  # fmt: skip


def findings(loaded: Loaded, sources: Sources) -> Iterator[Finding]:
    """Yield what is found of a valid configuration."""
    settings = loaded.settings
    told = f"environment {settings.environment.value}, version {settings.version}"
    yield Finding(id="config.valid", status=Status.PASSED, found=told)
    for variable, near in near_misses(settings, sources):
        yield Finding(
            id="config.names", status=Status.WARNED, found=f"the variable {variable} sets nothing",
            stake="what was meant by it does not hold", mend=f"did you mean {near}?",
        )  # fmt: skip
    yield _providers(settings)
    yield _secret(settings)


def _providers(settings: Settings) -> Finding:
    in_use = list(settings.in_use())
    if in_use and not all(name.startswith("sandbox") for name in in_use):
        return Finding(id="providers.in_use", status=Status.PASSED, found=", ".join(in_use))
    production = settings.environment is Environment.PRODUCTION
    mend = "set OPENAI_API_KEY, ANTHROPIC_API_KEY, GOOGLE_API_KEY or DEEPSEEK_API_KEY"
    if in_use or sandbox_wanted(settings):
        return Finding(
            id="providers.in_use", status=Status.WARNED if production else Status.PASSED, found=f"the sandbox ({why_sandbox(settings)})",
            stake="its answers are made up", mend=mend if production else "",
        )  # fmt: skip
    return Finding(
        id="providers.in_use", status=Status.FAILED, found="no provider has a key", stake=NO_ANSWER, mend=mend
    )


def _secret(settings: Settings) -> Finding:
    """Look at the secret of the API keys; unlike a process that needs it, make none."""
    given = settings.service.hmac_secret
    if given is not None:
        if len(given.get_secret_value()) >= MIN_CHARACTERS:
            return Finding(id="keys.secret", status=Status.PASSED, found="service.hmac_secret is set")
        return _bad(f"service.hmac_secret has fewer than {MIN_CHARACTERS} characters", "use a longer one")
    return _file(data_dir(settings) / FILE)


def _file(path: Path) -> Finding:
    """Look at the file of the secret."""
    try:
        if not path.exists():
            return Finding(
                id="keys.secret", status=Status.SKIPPED, found=f"{path} does not exist yet: the first start makes it",
                stake="hosts that do not share the folder, or the secret, do not accept each other's keys",
            )  # fmt: skip
        if path.stat().st_mode & 0o077:
            return _bad(f"{path} can be read by others", f"chmod 600 {path}")
        if len(path.read_bytes().strip()) < MIN_CHARACTERS:
            return _bad(
                f"{path} holds fewer than {MIN_CHARACTERS} characters", "restore it, or remove it and make new keys"
            )
    except OSError as exc:
        return _bad(f"{path}: {exc.strerror}", "let the service's user read it")
    return Finding(id="keys.secret", status=Status.PASSED, found=str(path))


def _bad(found: str, mend: str) -> Finding:
    stake = "the front door does not start, or its API keys can be forged"
    return Finding(id="keys.secret", status=Status.FAILED, found=found, stake=stake, mend=mend)
