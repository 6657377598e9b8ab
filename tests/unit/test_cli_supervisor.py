"""The supervisor: real children of a few lines, started again, ended in time, none left behind."""

from __future__ import annotations

import asyncio
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from api.cli import guardian
from api.cli.child import Spec
from api.cli.crew import WorkerCrew, ids_of
from api.cli.supervisor import Supervisor
from infrastructure.core.asyncio_core import end_tasks
from infrastructure.core.config_core import child_environment
from tests.support.machine import in_time
from tests.support.waiting import eventually, wait_for

pytestmark = pytest.mark.anyio

SLEEPER = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PARENT = """
import subprocess, sys, time
print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True)
time.sleep(60)
"""
SUPERVISED = f"""
import asyncio, sys
from api.cli.child import Spec
from api.cli.supervisor import Supervisor
from infrastructure.core.config_core import child_environment
async def main():
    async with Supervisor(environment=child_environment({{}}), say=lambda name, line: None) as supervisor:
        for name in 'ab':
            child = await supervisor.run(Spec(name=name, command=(sys.executable, '-c', {SLEEPER!r})))
            print(child.pid, flush=True)
        await supervisor.verdict
asyncio.run(main())
"""


class Heard:
    """What the supervisor said."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, name: str, line: str) -> None:
        self.lines.append((name, line))

    def count(self, line: str) -> int:
        return sum(said == line for _, said in self.lines)


def python(code: str, *, name: str = "child", stage: int = 0) -> Spec:
    return Spec(name=name, command=(sys.executable, "-c", code), stage=stage)


def supervisor(heard: Heard, *, fast_s: float = 20, pause_s: float = 0.01, grace_s: float = 5) -> Supervisor:
    return Supervisor(
        environment=child_environment({}), say=heard, fast_s=fast_s, pause_s=pause_s, grace_s=grace_s
    )  # fmt: skip


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_output_comes_line_by_line_under_the_name_of_its_process() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        await running.run(
            python("print('one\\ntwo', flush=True); import sys; sys.stderr.write('three'); sys.exit(78)", name="a")
        )
        await running.verdict
    assert heard.lines == [("a", "one"), ("a", "two"), ("a", "three")]


async def test_escapes_and_broken_text_do_not_reach_the_terminal() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        await running.run(
            python("import os; os.write(1, b'\\x1b[31mred\\x1b[0m \\x07bell \\xff\\n'); raise SystemExit(78)")
        )
        await running.verdict
    assert heard.lines == [("child", "red bell \ufffd")]


async def test_dead_child_is_started_again() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        child = await running.run(python(SLEEPER))
        await eventually(lambda: heard.count("up") == 1)
        first = child.pid
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: heard.count("up") == 2)
        assert child.pid != first
        assert ("child", "was ended by SIGKILL; starting again in 0.01 s") in heard.lines
        assert not running.verdict.done()


async def test_child_that_cannot_live_is_given_up_after_five_deaths() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        other = await running.run(python(SLEEPER))
        await running.run(python("print('no luck'); raise SystemExit(3)", name="bad"))
        verdict = await asyncio.wait_for(running.verdict, 15)
    assert verdict.status == 1
    assert verdict.message == "bad ended with status 3, 5 times in a row; giving up; its last line: no luck"
    assert heard.count("no luck") == 5
    assert not lives(other.pid)


async def test_child_that_lived_for_a_while_is_never_given_up() -> None:
    heard = Heard()
    async with supervisor(heard, fast_s=0) as running:
        await running.run(python("print('born'); raise SystemExit(1)"))
        await eventually(lambda: heard.count("born") > 6)
        assert not running.verdict.done()


async def test_bad_configuration_of_a_child_stops_everything_at_once() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        await running.run(python("print('configuration: no key'); raise SystemExit(78)", name="web"))
        verdict = await asyncio.wait_for(running.verdict, 15)
    assert (verdict.status, verdict.message) == (78, "web refuses to start; it said: configuration: no key")
    assert len(heard.lines) == 1


async def test_a_dismissed_child_ends_for_good_and_the_others_go_on() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        going = await running.run(python(SLEEPER, name="going"))
        staying = await running.run(python(SLEEPER, name="staying"))
        await eventually(lambda: heard.count("up") == 2)
        await running.dismiss(going)
        await running.dismiss(going)
        assert not lives(going.pid)
        assert lives(staying.pid)
        assert not running.verdict.done()
    assert not any("starting again" in line for _, line in heard.lines)
    assert not lives(staying.pid)


async def test_stop_kills_what_ignores_the_request() -> None:
    heard = Heard()
    async with supervisor(heard, grace_s=0.3) as running:
        stubborn = await running.run(python(STUBBORN))
        await eventually(lambda: heard.count("up") == 1)
        started = time.monotonic()
    assert in_time(time.monotonic() - started, 2)
    assert not lives(stubborn.pid)


async def test_stop_in_its_longest_form_takes_less_than_10_s() -> None:
    from api.cli import supervisor as module
    from infrastructure.optional.embedded_redis import embedded_redis

    stages = module.GRACE_S + module.LATER_GRACE_S + 2 * module.KILLED_S
    assert stages + embedded_redis.LEAVE_S + embedded_redis.END_S < 10


async def test_children_of_a_later_stage_outlive_the_earlier_ones() -> None:
    order: list[str] = []
    goodbye = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('bye'))); print('up', flush=True); time.sleep(60)"
    slow = goodbye.replace("sys.exit(print('bye'))", "(time.sleep(0.2), sys.exit(print('bye')))")
    heard = Heard()
    async with supervisor(heard) as running:
        await running.run(python(goodbye, name="sandbox", stage=1))
        await running.run(python(slow, name="worker"))
        await eventually(lambda: heard.count("up") == 2)
    order = [name for name, line in heard.lines if line == "bye"]
    assert order == ["worker", "sandbox"]


async def test_what_a_child_left_behind_is_killed_with_it() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        await running.run(python(PARENT))
        await eventually(lambda: heard.lines)
    grandchild = int(heard.lines[0][1])
    wait_for(lambda: not lives(grandchild))


async def test_signal_decides_and_a_second_one_kills() -> None:
    heard = Heard()
    async with supervisor(heard, grace_s=5) as running:
        await running.run(python(STUBBORN))
        await eventually(lambda: heard.count("up") == 1)
        os.kill(os.getpid(), signal.SIGINT)
        verdict = await asyncio.wait_for(running.verdict, 15)
        assert (verdict.status, verdict.message) == (0, "")
        started = time.monotonic()
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGINT)
    assert in_time(time.monotonic() - started, 2)


RELOADER = """
import signal, time
signal.signal(signal.SIGHUP, lambda *_: print('reloaded', flush=True))
print('up', flush=True)
while True: time.sleep(60)
"""


async def test_a_hangup_is_passed_on_to_those_that_reload_and_ends_nobody() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        reloader = Spec(name="web", command=(sys.executable, "-c", RELOADER), reloads=True)
        children = [await running.run(each) for each in (reloader, python(SLEEPER))]
        await eventually(lambda: heard.count("up") == 2)
        os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: heard.count("reloaded") == 1)
        assert all(lives(child.pid) for child in children)
        assert not running.verdict.done()


async def test_a_hangup_while_a_process_is_starting_does_not_count_against_it() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        await running.run(Spec(name="early", command=(sys.executable, "-c", SLEEPER), reloads=True))
        for number in range(1, 8):
            await eventually(lambda number=number: heard.count("up") == number)  # type: ignore[misc]
            os.kill(os.getpid(), signal.SIGHUP)
        await eventually(lambda: heard.count("up") == 8)
        assert not running.verdict.done()


def hang_up(*, ignored: bool) -> tuple[int, int]:
    """Run a supervisor on a terminal of its own, take the terminal away, and return the ids of it and of its child."""
    code = f"import signal; signal.signal(1, signal.{'SIG_IGN' if ignored else 'SIG_DFL'}){SUPERVISED}"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", code])
    with os.fdopen(os.dup(terminal), "rb", buffering=0) as lines:
        heard = b""
        while heard.count(b"\n") < 2:
            heard += lines.read(100)
    os.close(terminal)
    return pid, int(heard.split()[0])


def test_the_end_of_its_terminal_ends_everything() -> None:
    pid, child = hang_up(ignored=False)
    wait_for(lambda: os.waitpid(pid, os.WNOHANG)[0] == pid, within_s=15, what="the supervisor ends")
    wait_for(lambda: not lives(child))


def test_under_nohup_the_end_of_its_terminal_ends_nothing() -> None:
    pid, child = hang_up(ignored=True)
    try:
        with pytest.raises(AssertionError):
            wait_for(lambda: not lives(pid) or not lives(child), within_s=1)
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
    wait_for(lambda: not lives(child))


async def test_a_spare_child_that_cannot_live_is_given_up_alone() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        await running.run(python(SLEEPER))
        spare = await running.run(
            Spec(name="worker.2", command=(sys.executable, "-c", "raise SystemExit(3)"), spare=True)
        )
        await eventually(lambda: running.given_up == {spare})
        assert heard.lines[-1] == (
            "worker.2", "worker.2 ended with status 3, 5 times in a row; giving up; the others go on",
        )  # fmt: skip
        await running.dismiss(spare)
        assert running.given_up == set()
        assert not running.verdict.done()


async def test_a_child_that_cannot_be_started_again_now_is_later(tmp_path: Path) -> None:
    heard = Heard()
    program, away = tmp_path / "program", tmp_path / "away"
    program.write_text("#!/bin/sh\necho up; exec sleep 60\n")
    program.chmod(0o755)
    async with supervisor(heard) as running:
        child = await running.run(Spec(name="child", command=(str(program),)))
        await eventually(lambda: heard.count("up") == 1)
        program.rename(away)
        os.kill(child.pid, signal.SIGKILL)
        await eventually(lambda: any("cannot be started: No such file" in line for _, line in heard.lines))
        away.rename(program)
        await eventually(lambda: heard.count("up") == 2)


async def test_a_crew_numbers_its_processes_and_uses_a_free_name_again_but_no_id() -> None:
    heard = Heard()
    async with supervisor(heard) as running:
        crew = WorkerCrew("completions", "worker", running, ids=ids_of("001"), minimum=2)
        for _ in range(3):
            await crew.add()
        await crew.end(crew.children[1])
        await crew.add()
        specs = [child.spec for child in crew.children]
    assert [(spec.name, spec.variables["AI_PROVIDER_SERVICE_ID"], spec.spare) for spec in specs] == [
        ("worker", "001", False), ("worker.3", "003", True), ("worker.2", "004", True),
    ]  # fmt: skip


async def test_a_dismissal_that_a_stop_interrupts_leaves_no_process() -> None:
    heard = Heard()
    async with supervisor(heard, grace_s=0.5) as running:
        going = await running.run(python(STUBBORN))
        await eventually(lambda: heard.count("up") == 1)
        dismissing = asyncio.create_task(running.dismiss(going))
        await asyncio.sleep(0)
        await end_tasks([dismissing])
    assert not lives(going.pid)
    assert not any("starting again" in line for _, line in heard.lines)


def test_killed_supervisor_leaves_no_process() -> None:
    program = subprocess.Popen([sys.executable, "-c", SUPERVISED], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    pids = [int(program.stdout.readline()) for _ in range(2)]
    assert all(lives(pid) for pid in pids)
    program.kill()
    program.communicate(timeout=60)
    wait_for(lambda: not any(lives(pid) for pid in pids), what="the guardian ends what its supervisor left")


def test_guardian_kills_what_does_not_listen() -> None:
    stubborn = subprocess.Popen(
        [sys.executable, "-c", STUBBORN], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert stubborn.stdout is not None
    assert stubborn.stdout.readline() == "up\n"
    guardian.end_groups({stubborn.pid}, grace_s=0.1)
    stubborn.communicate(timeout=60)
    assert stubborn.returncode == -signal.SIGKILL


def test_guardian_forgets_what_has_ended_and_never_takes_a_group_that_is_not_ours() -> None:
    assert guardian.read_list(["+101\n", "+102\n", "-101\n", "+1\n", "+0\n", "nonsense\n", "+-5\n"]) == {102}
