"""Jobs from outside at a steady rate, each sent under an Idempotency-Key until it has its 202."""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from collections.abc import Collection
from itertools import count

import httpx

from tests.chaos.harness.deployment import MODEL

SENDERS = 8
PATIENCE_S = 120.0
PAUSE_S = 0.1
_numbers = count(1)


class Stream:
    """Submits `jobs` questions, `rate` a second (0: as fast as it goes), from its start; `ids` are those of the 202s by prompt, `accepted_ms` their instants.

    At most so many jobs wait to be among the `ended`, which somebody else fills.
    """

    def __init__(
        self,
        url: str,
        jobs: int,
        *,
        rate: float = 0.0,
        deadline_s: float = 3_600,
        word: str = "question",
        most_waiting: int = 1_000_000,
        ended: Collection[str] = (),
    ) -> None:
        name = f"stream {next(_numbers)} of run {secrets.token_hex(4)}"
        self.prompts = [f"{word} {number} of {name}" for number in range(jobs)]
        self.ids: dict[str, str] = {}
        self.accepted_ms: dict[str, float] = {}
        self.answers: Counter[str] = Counter()
        self._url, self._rate, self._deadline_s = f"{url}/api/v1/completion", rate, deadline_s
        self._most_waiting, self._ended = most_waiting, ended
        self._places = iter(range(jobs))
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._senders = [threading.Thread(target=self._send, daemon=True) for _ in range(SENDERS)]
        for sender in self._senders:
            sender.start()

    def wait(self, *, within_s: float) -> None:
        """Wait until all have their 202; AssertionError when some have none in time."""
        deadline = time.monotonic() + within_s
        for sender in self._senders:
            sender.join(max(0.0, deadline - time.monotonic()))
        lacking = len(self.prompts) - len(self.ids)
        assert not lacking, f"{lacking} submits without a 202, answers: {dict(self.answers)}"

    def _send(self) -> None:
        with httpx.Client(timeout=10) as client:
            while (place := self._next()) is not None:
                if self._rate:
                    time.sleep(max(0.0, self._began + place / self._rate - time.monotonic()))
                while len(self.ids) - len(self._ended) > self._most_waiting:
                    time.sleep(PAUSE_S)
                self._submit(client, self.prompts[place])

    def _next(self) -> int | None:
        with self._lock:
            return next(self._places, None)

    def _submit(self, client: httpx.Client, prompt: str) -> None:
        body = {"model": MODEL, "messages": [{"role": "user", "content": prompt}], "deadline_s": self._deadline_s}
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                answer = client.post(self._url, json=body, headers={"Idempotency-Key": prompt.replace(" ", "-")})
                self.answers[str(answer.status_code)] += 1
                if answer.status_code == httpx.codes.ACCEPTED:
                    self.accepted_ms[prompt] = time.time() * 1000
                    self.ids[prompt] = answer.json()["id"]
                    return
            except httpx.HTTPError as exc:
                self.answers[type(exc).__name__] += 1
            time.sleep(PAUSE_S)
