"""The service in front of a wall of providers: real processes, and a configuration of providers that are the sandbox's instances."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import redis as sync_redis

from infrastructure.core.logger_core.events import AI_COMPLETION_SUCCESS, EVENT_MESSAGES, PROVIDER_COMPLETION_FAILED
from tests.support.fleet import ROOT, Fleet
from tests.support.waiting import wait_for

MODEL = "m"
BASE_MODEL = {"openai": "sandbox-small", "anthropic": "sandbox-claude"}
PREFIX = "aip"
PROBE_TENANT = "(probe)"
PUT_BACK = "Job waits for a provider"
READY_S = 120.0


@dataclass(frozen=True, kw_only=True)
class Given:
    """A provider of the wall: its account in the configuration, and its instance in the sandbox.

    `price` is USD for a million tokens in and out; `profile` what the sandbox is told, `more` further settings.
    """

    name: str
    wire: str = "openai"
    priority: int = 1
    timeout_s: float = 5.0
    price: tuple[float, float] = (1.0, 2.0)
    profile: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Return its candidate, `provider/model`."""
        return f"{self.name}/{BASE_MODEL[self.wire]}"

    def account(self, url: str) -> dict[str, Any]:
        """Return its section of the configuration."""
        prices = {BASE_MODEL[self.wire]: {"input": self.price[0], "output": self.price[1]}}
        base = f"{url}/v1" if self.wire == "openai" else url
        return {"kind": self.wire, "base_url": base, "needs_key": False, "priority": self.priority,
                "timeout_s": self.timeout_s, "prices": prices, **self.more}  # fmt: skip


@dataclass
class Wall(Fleet):
    """Providers, and the fleet that calls them. Its model `m` has all providers as candidates, in their order.

    `settings` are sections of the configuration, such as `{"breakers": {"probe_s": 1}}`. Every process writes a log of its
    own into the folder: `log_of(name)`.
    """

    providers: Sequence[Given] = ()
    settings: dict[str, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        super().__enter__()
        self.workers: list[subprocess.Popen[bytes]] = []
        self._started: list[str] = []
        self._bent: dict[str, tuple[dict[str, Any], ...]] = {}
        self._bending = threading.Lock()
        try:
            shown = self.sandbox.set_instances(**{p.name: {**p.profile, "port": "open"} for p in self.providers})
            self.urls: dict[str, str] = {one.name: shown[one.name]["url"] for one in self.providers}
            self._write_configuration()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables that tie the processes together."""
        variables = super().environment(CONFIG_DIR=str(self.folder / "config"), LOG_LEVEL="info", **more)
        del variables["AI_PROVIDER_SANDBOX_URL"]
        return variables

    def start(self, *, workers: int, upkeep: bool = True, **variables: str) -> None:
        """Start front door, completion workers, upkeep and beat, and wait until the workers are ready."""
        for _ in range(workers):
            self.add_worker(**variables)
        if upkeep:
            self.start_upkeep()
        self.start_web()
        self.wait_for_workers(workers)

    def add_worker(self, **variables: str) -> subprocess.Popen[bytes]:
        """Start one completion worker more; it is not waited for."""
        self.workers.append(self.start_worker(**variables))
        return self.workers[-1]

    def wait_for_workers(self, count: int) -> None:
        """Wait until so many completion workers have said that they are ready."""
        wait_for(
            lambda: self.ready_workers() >= count, within_s=READY_S, every_s=0.2, what=f"{count} workers are ready"
        )

    def ready_workers(self) -> int:
        """Return how many completion workers have said that they are ready; AssertionError when a process died young."""
        self._all_live()
        return sum("Worker is ready" in self.log_of(name) for name in self._started if name.startswith("completions"))

    def profile(self, name: str, **changed: Any) -> None:
        """Change an instance's profile while it runs: what is not given is as it was at the start."""
        given = next(one for one in self.providers if one.name == name)
        self.sandbox.set_instances(**{name: {**given.profile, "port": "open", **changed}})

    def bend(self, name: str, *rules: dict[str, Any]) -> None:
        """Put fault rules for an instance in place of those it had; those of the others stay."""
        with self._bending:
            self._bent[name] = rules
            self.sandbox.set_faults(*(rule for bent in self._bent.values() for rule in bent))

    def calls(self, name: str) -> int:
        """Return how many calls have reached an instance so far; looks at its list of models are none."""
        return self._total(name, "calls")

    def throttled(self, name: str) -> int:
        """Return how many calls of an instance were answered 429 so far."""
        return self._total(name, "429")

    def _total(self, name: str, what: str) -> int:
        seconds = self.sandbox.timeline()["instances"].get(name, {})
        return sum(int(counted.get(what, 0)) for counted in seconds.values())

    def probes(self, name: str) -> int:
        """Return how many generating probes of a provider the ledger has, whatever they led to."""
        with self.client() as client:
            days = [client.hgetall(key) for key in client.scan_iter(f"{PREFIX}:cost:*")]
        fields = [(field.decode().split("|"), value) for day in days for field, value in day.items()]
        return sum(int(value) for (tenant, provider, *_, what), value in fields
                   if tenant == PROBE_TENANT and provider == name and what == "calls")  # fmt: skip

    def most_calls_a_visit(self) -> int:
        """Return the most calls that a worker made for one job before it put it aside or ended it, by the workers' logs."""
        most = 0
        for name in (one for one in self._started if one.startswith("completions")):
            visits: Counter[str] = Counter()
            for line in self.log_of(name).splitlines():
                told = json.loads(line) if line.startswith("{") else {}
                job = told.get("context", {}).get("job_id")
                if told.get("message") == PUT_BACK:
                    visits.pop(job, None)
                elif told.get("message") in {PROVIDER_COMPLETION_FAILED, EVENT_MESSAGES[AI_COMPLETION_SUCCESS]}:
                    visits[job] += 1
                    most = max(most, visits[job])
        return most

    def client(self) -> sync_redis.Redis:
        """Return a client of the fleet's Redis, to be closed."""
        return sync_redis.Redis.from_url(self.redis.url)

    def log_of(self, name: str) -> str:
        """Return what a process has written: `completions-1`, `upkeep-1`, `beat-1`, `main-1` (the front door)."""
        path = self.folder / f"{name}.log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def logs(self) -> dict[str, str]:
        """Return the logs of all processes by name."""
        return {name: self.log_of(name) for name in self._started}

    def _ready(self) -> bool:
        self._all_live()
        return super()._ready()

    def _all_live(self) -> None:
        """Raise with its last words when a process ended with an error by itself; what a signal ended was meant to end."""
        for name, child in zip(self._started, self._children, strict=True):
            if (child.poll() or 0) > 0:
                raise AssertionError(f"{name} ended with {child.returncode}: {self.log_of(name)[-2_000:]}")

    def _write_configuration(self) -> None:
        accounts = {one.name: one.account(self.urls[one.name]) for one in self.providers}
        models = {MODEL: [one.target for one in self.providers], **self.settings.get("models", {})}
        providers = {"enabled": [one.name for one in self.providers], **accounts}
        whole = {**self.settings, "providers": providers, "models": models}
        path = Path(self.folder) / "config" / "ai-provider" / "ai-provider.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"---\n{json.dumps(whole)}\n...\n", "utf-8")

    def _start(self, module: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        kind = arguments[0] if arguments else module.rpartition(".")[2]
        name = f"{kind}-{sum(one.startswith(f'{kind}-') for one in self._started) + 1}"
        self._started.append(name)
        with (self.folder / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self.environment(**variables), cwd=ROOT, start_new_session=True, stdout=log, stderr=log)  # fmt: skip
        self._children.append(child)
        return child
