"""A provider that says nothing: which calls are held to be failures before they time out."""

from __future__ import annotations

import itertools

from workers.jobs.gate.models import Begin
from workers.providers.silence import ANSWERS, CANDIDATES, Silence, Waiting

_numbers = itertools.count()


class Watched:
    """A watch whose clock is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.silence = Silence(self.tell, factor=lambda: 3.0, clock=lambda: self.now)

    async def tell(self, call: Waiting) -> None:
        """Take no notice."""

    def call(self, provider: str = "p") -> Waiting:
        """Begin a call."""
        asked = Begin(attempt=str(next(_numbers)), provider=provider, model="m", tenant="t", timeout_ms=1)
        return self.silence.began(asked, epochs=(0, 0))

    def answered(self, latency_s: float, *, times: int = ANSWERS) -> None:
        """Have calls answered well after so many seconds each."""
        for _ in range(times):
            call = self.call()
            self.now += latency_s
            self.silence.ended(call, answered=True, good=True)


def test_nothing_is_silent_before_twenty_answers_were_heard() -> None:
    watched = Watched()
    watched.answered(0.1, times=ANSWERS - 1)
    watched.call()
    watched.now += 1_000
    assert watched.silence.silent() == []


def test_a_call_is_silent_once_after_three_times_the_95th_percentile_and_a_second_at_least() -> None:
    for latency_s, patience_s in ((0.01, 1.0), (2.0, 6.0)):
        watched = Watched()
        watched.answered(latency_s)
        first, second = watched.call(), watched.call()
        watched.now += patience_s
        assert watched.silence.silent() == []
        watched.now += 0.01
        assert watched.silence.silent() == [first, second]
        assert (first.silent, watched.silence.silent()) == (True, [])


def test_an_answer_or_an_error_heard_since_it_began_keeps_a_slow_call_from_being_silent() -> None:
    for good in (True, False):
        watched = Watched()
        watched.answered(0.1)
        slow, quick = watched.call(), watched.call()
        watched.now += 0.1
        watched.silence.ended(quick, answered=True, good=good)
        watched.now += 60
        assert watched.silence.silent() == []
        watched.silence.ended(slow, answered=True, good=True)


def test_errors_and_timeouts_do_not_make_a_candidate_look_fast() -> None:
    watched = Watched()
    watched.answered(2.0)
    for _ in range(500):
        watched.silence.ended(watched.call(), answered=True)
        watched.silence.ended(watched.call(), answered=False)
    assert watched.silence.patience_s(("p", "m")) == 6.0


def test_one_candidates_answers_say_nothing_of_anothers_silence() -> None:
    watched = Watched()
    watched.answered(0.1)
    silent = watched.call()
    for _ in range(10):
        watched.now += 0.2
        watched.silence.ended(watched.call("q"), answered=True, good=True)
    assert watched.silence.silent() == [silent]


def test_candidates_that_nobody_calls_are_forgotten_when_there_are_very_many() -> None:
    watched = Watched()
    waiting = watched.call("kept")
    for number in range(CANDIDATES + 100):
        watched.silence.ended(watched.call(f"p{number}"), answered=True, good=True)
    assert len(watched.silence._candidates) <= CANDIDATES
    watched.silence.ended(waiting, answered=True)
