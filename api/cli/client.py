"""A client of the service's own API, whose failures are sentences."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx

from api.cli.errors import EXIT_INTERRUPTED, CommandFailed
from infrastructure.core.addresses import http_url
from infrastructure.core.config_core import client_defaults, load

TIMEOUT_S = 10.0
WAIT_S = 30
SHOWN_CHARACTERS = 500
ENDED = frozenset({"completed", "failed", "cancelled", "expired"})
Job = dict[str, Any]
NO_ROOM = {
    "tenant_queue_full": "as many of your jobs wait as may",
    "queue_full": "the queue is full",
    "queue_too_slow": "the queue is too slow for another job",
}
"""Codes of a submit that there is no room for now."""
PAUSE_S = 2.0
LONGEST_SAID = 5


def service_url(url: str | None) -> str:
    """Return where the service is: as given, as `AI_PROVIDER_URL` says, or on this machine's configured port.

    Raises:
        CommandFailed: what was given is no HTTP URL.
        ConfigError: the configuration, which is asked last, is bad.
    """
    found = url or client_defaults().url
    if found is None:
        service = load().settings.service
        return http_url(service.host, service.port)
    if not found.startswith(("http://", "https://")):
        raise CommandFailed("expected the service's URL to start with http:// or https:// (--url or AI_PROVIDER_URL)")
    return found.rstrip("/")


class NoService(CommandFailed):
    """Nobody listens where the service should be."""


class Refusal(CommandFailed):
    """There is no room in the queue now; `retry_after_s` is when there may be."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Client:
    """A connection to the service. Every method raises CommandFailed when it does not do its part."""

    def __init__(self, url: str, *, api_key: str | None) -> None:
        self.url = url
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        try:
            self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False)
        except (httpx.InvalidURL, ValueError, TypeError) as exc:
            raise CommandFailed("the service's URL or the API key has a form that cannot be sent") from exc

    @classmethod
    def from_options(cls, url: str | None) -> Self:
        """Return a client of the service that the option, the variables or the configuration name."""
        return cls(service_url(url), api_key=client_defaults().api_key)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        """Close the connections."""
        self._http.close()

    def submit(
        self, body: dict[str, Any], *, wait_s: float = 0, refused: Callable[[Refusal], None] = lambda _: None
    ) -> Job:
        """Submit a completion and wait up to `wait_s` seconds for its end.

        A submit that the queue has no room for is tried again when the service says, as long as that is within the wait;
        `refused` is told before each pause. All tries are one job: they carry one idempotency key.

        Raises:
            Refusal: there was no room, to the end.
            CommandFailed: it was not taken, or a person ended the wait; then the sentence has the job's id.
        """
        deadline = time.monotonic() + wait_s
        try:
            job = self._until_taken(body, deadline, refused)
        except KeyboardInterrupt:
            raise CommandFailed("interrupted; whether the job was taken is unknown", status=EXIT_INTERRUPTED) from None
        try:
            return self.wait_for(job, deadline=deadline)
        except KeyboardInterrupt:
            raise CommandFailed(
                f"interrupted; job {job['id']} goes on: see `ai-provider jobs show {job['id']}`",
                status=EXIT_INTERRUPTED,
            ) from None

    def _until_taken(self, body: dict[str, Any], deadline: float, refused: Callable[[Refusal], None]) -> Job:
        headers = {"Idempotency-Key": f"cli-{secrets.token_hex(16)}"}
        while True:  # each round takes a second at least, and the deadline is finite
            try:
                return self._ask("POST", "/api/v1/completion", json=body, headers=headers)
            except Refusal as refusal:
                pause_s = max(1.0, refusal.retry_after_s)
                if time.monotonic() + pause_s > deadline:
                    raise
                refused(refusal)
                time.sleep(pause_s)

    def wait_for(self, job: Job, *, deadline: float) -> Job:
        """Return the job when it has ended, or as it is at the deadline (monotonic seconds)."""
        while job["status"] not in ENDED and (left := int(deadline - time.monotonic())) > 0:
            job = self._ask(
                "GET", f"/api/v1/jobs/{job['id']}", params={"wait": min(left, WAIT_S)}, timeout=WAIT_S + TIMEOUT_S
            )
        return job

    def job(self, job_id: str) -> Job:
        """Return a job."""
        return self._ask("GET", f"/api/v1/jobs/{_segment(job_id)}")

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; one that has ended comes back as it is."""
        return self._ask("POST", f"/api/v1/jobs/{_segment(job_id)}/cancel")

    def jobs(self, *, status: str | None, limit: int, after: str | None) -> dict[str, Any]:
        """Return a page of jobs, newest first."""
        params = {"status": status, "limit": limit, "after": after}
        return self._ask(
            "GET", "/api/v1/jobs", params={name: value for name, value in params.items() if value is not None}
        )

    def dead(self, *, limit: int, after: str | None) -> dict[str, Any]:
        """Return a page of dead letters, the latest first."""
        params = {"limit": limit, **({} if after is None else {"after": after})}
        return self._ask("GET", "/api/v1/dead", params=params)

    def retry(self, job_id: str) -> Job:
        """Retry a dead letter; return the new job."""
        return self._ask("POST", f"/api/v1/jobs/{_segment(job_id)}/retry")

    @contextmanager
    def events(self, job_id: str, *, after: int, silence_s: float) -> Iterator[httpx.Response]:
        """Give the answer that streams a job's events behind a number; between two lines it may be silent for so long.

        Raises:
            httpx.HTTPError: the connection failed, before or within the block.
        """
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        timeout = httpx.Timeout(TIMEOUT_S, read=silence_s)
        path = f"/api/v1/jobs/{_segment(job_id)}/events"
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as answer:
            yield answer

    def lines(self, answer: httpx.Response) -> Iterator[str]:
        """Return the lines of an answer that streams events.

        Raises:
            CommandFailed: it is a problem, or nothing that this service says.
        """
        if answer.is_success and answer.headers.get("content-type", "").startswith("text/event-stream"):
            return answer.iter_lines()
        answer.read()
        _content(answer, _shown(self.url))
        raise CommandFailed(f"what answers at {_shown(self.url)} is not this service")

    def providers(self) -> dict[str, Any]:
        """Return the table of providers."""
        return self._ask("GET", "/api/v1/providers")

    def costs(self, *, days: int, by: str) -> dict[str, Any]:
        """Return what calls of the last days cost."""
        return self._ask("GET", "/api/v1/costs", params={"days": days, "by": by})

    def webhooks(self, method: str, *parts: str, **options: Any) -> dict[str, Any]:
        """Return what the routes of webhooks answer; `parts` are ids and words of the path."""
        return self._ask(method, "/".join(("/api/v1/webhooks", *map(_segment, parts))), **options)

    def _ask(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, **options)
        except httpx.TimeoutException as exc:
            raise CommandFailed(f"the service at {_shown(self.url)} did not answer in time") from exc
        except (httpx.HTTPError, httpx.InvalidURL) as exc:
            raise NoService(
                f"no service answers at {_shown(self.url)}: start it with `ai-provider up`, or name it with --url"
            ) from exc
        return _content(answer, _shown(self.url))


def _content(answer: httpx.Response, url: str) -> dict[str, Any]:
    """Return the answer's object.

    Raises:
        CommandFailed: it is a problem, or nothing that this service says.
    """
    try:
        content = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise CommandFailed(f"what answers at {url} is not this service (status {answer.status_code})")
    if content.get("code") in NO_ROOM:
        raise Refusal(problem(content, answer.status_code), retry_after_s=retry_after(answer))
    if answer.is_error:
        raise CommandFailed(problem(content, answer.status_code))
    return content


def retry_after(answer: httpx.Response) -> float:
    """Return the seconds that an answer says to wait; a few where it does not."""
    said = answer.headers.get("Retry-After", "")
    return float(said) if said.isdecimal() and len(said) <= LONGEST_SAID else PAUSE_S


def problem(content: dict[str, Any], status: int) -> str:
    """Return a problem document as a sentence."""
    fields = [f"{error.get('field')}: {error.get('message')}" for error in content.get("errors") or ()]
    text = "; ".join(fields) or str(content.get("detail") or content.get("title") or f"status {status}")
    if content.get("code") in NO_ROOM:
        return f"{NO_ROOM[content['code']]}; nothing was submitted, try again later or raise its limits ({text[:SHOWN_CHARACTERS]})"
    hint = " (set AI_PROVIDER_API_KEY)" if content.get("code") in {"missing_api_key", "invalid_api_key"} else ""
    return f"{text[:SHOWN_CHARACTERS]}{hint}"


def _shown(url: str) -> str:
    """Return a URL without the user and password that it may carry."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _segment(name: str) -> str:
    """Refuse what would be another path than an id's."""
    if not name or not all(character.isalnum() or character == "_" for character in name):
        kind = "a webhook's id: whk_ and 24" if name.startswith(("whk", "evt")) else "a job's id: job_ and 32"
        raise CommandFailed(f"expected {kind} hex digits")
    return name
