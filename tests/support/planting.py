"""A fleet whose every secret is a plant, and the ways in which callers and providers bring plants into it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
import redis

from tests.support.fleet import ROOT, Fleet
from tests.support.planted import SECRETS, configured
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_for

ENDED = {"completed", "failed", "expired", "cancelled"}
MODEL = "sandbox/sandbox-small"
HELD = "Zebrafisch held back"
PATH = "/api/v1/completion"
Way = Callable[[], httpx.Response]


class PlantedFleet(Fleet):
    """A fleet with a planted secret wherever the configuration has room for one; what it prints is kept in `printed`."""

    def __enter__(self) -> Self:
        """Start Redis, where each user has a planted password, and the sandbox."""
        super().__enter__()
        self.secrets = configured(str(self.redis.socket), self.sandbox.url)
        with redis.Redis(unix_socket_path=str(self.redis.socket)) as admin:
            for user, password in self.secrets.passwords.items():
                admin.execute_command("ACL", "SETUSER", user, "on", f">{password}", "~*", "&*", "+@all")
        self.printed = self.folder / "printed"
        self.printed.mkdir()
        self.ears = RedisEars(self.redis)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, at: TracebackType | None) -> None:
        """End everything."""
        self.ears.close()
        super().__exit__(kind, exc, at)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the variables of a process: every planted secret among them."""
        return super().environment(**{**self.secrets.variables, **more})

    def run(self, program: str, *arguments: str) -> str:
        """Return what a program that is installed with the service prints."""
        command = [str(Path(sys.executable).with_name(program)), *arguments]
        done = subprocess.run(
            command, env=self.environment(), cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        return done.stdout + done.stderr

    def _start(self, module: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, *arguments]
        name = f"{'-'.join((module, *arguments))}.{len(self._children)}"
        with (self.printed / name).open("wb") as printed:
            child = subprocess.Popen(
                command, env=self.environment(**variables), cwd=ROOT, stdout=printed, stderr=printed,
                start_new_session=True,
            )  # fmt: skip
        self._children.append(child)
        return child


class RedisEars:
    """Hears every command that a Redis server gets, but for the job store's own scripts: they carry the jobs."""

    def __init__(self, server: RedisServer) -> None:
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(server.socket))
        self._socket.sendall(b"MONITOR\r\n")
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hear no more."""
        if self._socket.fileno() < 0:
            return
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _listen(self) -> None:
        with self._socket.makefile("r", encoding="utf-8", errors="replace") as lines:
            self.heard.extend(line for line in lines if '"EVAL' not in line and " lua]" not in line)


def body_of(plant: str) -> dict[str, Any]:
    """Return a request with a plant in every field that takes any text."""
    return {
        "model": MODEL,
        "messages": [{"role": "system", "content": plant}, {"role": "user", "content": plant}],
        "user": plant[:512],
        "stop": [plant[:64]],
        "metadata": {"note": plant[:512]},
        "tools": [{"type": "function", "function": {"name": "zebrafisch_tool", "description": plant}}],
        "cache": {"mode": "off"},
    }


def submit(client: httpx.Client, plant: str, **more: Any) -> str:
    """Submit a job with a plant and return its id."""
    headers = {"Idempotency-Key": plant[:200].encode().hex()[:64]} if not more else {}
    answer = client.post(PATH, json={**body_of(plant), **more}, headers=headers)
    assert answer.status_code == httpx.codes.ACCEPTED, answer.text
    return str(answer.json()["id"])


def end_all(client: httpx.Client, ids: list[str]) -> list[dict[str, Any]]:
    """Wait until jobs have ended; the jobs."""
    return [wait_for(partial(_ended, client, job_id), within_s=60, what="a job's end") for job_id in ids]


def _ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    job: dict[str, Any] = client.get(f"/api/v1/jobs/{job_id}", params={"wait": 5}).json()
    return job if job["status"] in ENDED else {}


def quoting(*texts: str) -> dict[str, Any]:
    """Return a fault: a provider that quotes texts in its refusal, as they are, URL-encoded and JSON-escaped."""
    said = " / ".join(f"{text} or {quote(text, safe='')} or {_escaped(text)}" for text in texts)
    return {"action": {"status": 400, "error": {"message": said}}}


def _escaped(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"\\u{ord(letter):04x}" for letter in text)


def as_header(plant: str) -> bytes:
    """Return what of a plant a header can carry."""
    return "".join(letter if letter.isprintable() else " " for letter in plant[:80]).strip().encode()


def refused(client: httpx.Client, plant: str, *, turn: int) -> list[str]:
    """Bring a plant in every other way that is refused: path, key, headers, body; return what was answered."""
    good = {"model": MODEL, "messages": [{"role": "user", "content": plant}]}
    wrong = as_header(plant)
    bodies: list[Any] = [
        plant,
        [plant],
        {**good, "messages": plant},
        {**good, "messages": [{"role": plant, "content": plant}]},
        {**good, "messages": [{"role": "user", "content": {plant: plant}}]},
        {**good, "temperature": plant, "stop": {plant: 1}, "max_tokens": [plant]},
        {**good, "metadata": {"note": plant * 600}},
        {**good, "cache": {"mode": plant}, "tools": [{"type": plant, "function": plant}]},
        {**good, "model": [plant]},
    ]
    texts = [plant.encode(), json.dumps(good).encode()[:-9], *(json.dumps(body).encode() for body in bodies)]
    ways: list[Way] = [partial(_posted, client, text) for text in texts]
    ways += [
        partial(client.get, f"/api/v1/{plant[:50].encode().hex()}", params={"ask": plant[:500]}),
        partial(client.get, f"/api/v1/jobs/{quote(plant[:60], safe='')}"),
        partial(client.get, "/api/v1/jobs", headers={b"Authorization": b"Bearer " + wrong}),
        partial(client.get, "/api/v1/jobs", headers={b"Authorization": wrong}),
        partial(client.post, PATH, json=good, headers={b"Idempotency-Key": wrong + b"\xc3\xa9"}),
    ]
    return _answers(ways[turn % 2 :: 2])


def echoed(client: httpx.Client, plant: str, *, turn: int) -> list[str]:
    """Bring a plant as a name or value of which an answer says that it breaks a rule; return what was answered."""
    good = {"model": MODEL, "messages": [{"role": "user", "content": "Why?"}]}
    name = json.dumps(plant[:100])
    own_id = as_header(plant) if plant in SECRETS else b"x"  # a word that is no key may be an id
    ways: list[Way] = [
        partial(_posted, client, json.dumps({**good, "metadata": {plant[:100]: 1}}).encode()),
        partial(_posted, client, json.dumps({**good, plant[:100]: 1}).encode()),
        partial(_posted, client, f"{{{name}: 1, {name}: 2}}".encode()),
        partial(client.get, "/api/v1/jobs", params={"limit": plant[:100]}),
        partial(client.post, PATH, content=b"{}", headers={b"Content-Type": as_header(plant) or b"x"}),
        partial(client.post, PATH, content=b"{}", headers={b"X-Request-Id": own_id}),
    ]
    return _answers(ways[turn % 3 :: 3])


def _posted(client: httpx.Client, body: bytes) -> httpx.Response:
    return client.post(PATH, content=body, headers={"Content-Type": "application/json"})


def _answers(ways: list[Way]) -> list[str]:
    answers = [way() for way in ways]
    assert {answer.status_code // 100 for answer in answers} == {4}, [answer.status_code for answer in answers]
    return [f"{answer.text} {dict(answer.headers)}" for answer in answers]


def read_all(folder: Path) -> dict[str, str]:
    """Return the text of each file of a folder."""
    return {path.name: path.read_text("utf-8") for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
