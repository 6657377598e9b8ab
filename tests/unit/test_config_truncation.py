"""A file cut anywhere while it was written: the old configuration or the new one holds, never a mixture."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infrastructure.core.config_core import steady
from infrastructure.core.config_core.build import load_from
from infrastructure.core.config_core.merge import Merged, read_all
from infrastructure.core.error_core import ConfigError
from tests.support.configuration import Folder

MODELS = 20


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two readings at once: nobody writes meanwhile."""
    monkeypatch.setattr(steady, "MOMENT_S", 0)


def text(number: int, *, extra: bool = False) -> str:
    """Return a configuration of 2 kB in which every value tells which one it is."""
    lines = [
        "# A header, which may be cut too.",
        "cache:",
        f"  ttl: {number}00",
        f"  l1_entries: {number}0000",
        "limits:",
        f"  depth: {number}0",
        f"  messages: {number}000",
        "services:",
        *(f"  service-{place}: http://host-{number}-{place}:80{place:02d}" for place in range(26)),
        *(["health:", "  interval_s: 77", "  timeout_s: 7.5"] if extra else []),
        "models:",
        *(f"  model-{place}: [openai/a-{number}, google/b-{number}]" for place in range(MODELS)),
        "  listed:",
        *(f"    - openai/of-{number}-{place}" for place in range(8)),
        "jobs:",
        f"  deadline_s: {number}000",
        "providers:",
        "  openai:",
        f"    max_tokens: {number}00",
    ]
    return "\n".join(lines) + "\n"


def marked(plain: str) -> str:
    """Return a file of which both ends can be seen."""
    return f"---\n{plain}...\n"


def cuts(whole: str, *, step: int = 1) -> Iterator[bytes]:
    """Yield the file cut at every byte, or at every `step`th, the last ones included."""
    content = whole.encode()
    return (content[:length] for length in range(len(content) - 1, -1, -step))


def assert_never_a_mixture(folder: Folder, old: str, new: str, *, step: int = 1) -> tuple[int, int]:
    """Cut the new file at every byte and reload; return how often the old and the new configuration held after it."""
    folder.write(new)
    new_version = load_from(folder.sources()).settings.version
    folder.write(old)
    config = folder.config()
    old_version, held = config.snapshot.version, [0, 0]
    for content in cuts(new, step=step):
        folder.write(content)
        config.reloader.reload()
        version = config.snapshot.version
        assert version in {old_version, new_version}, content[-60:]
        held[version == new_version] += 1
        if version == new_version:  # only ends of lines and comments were missing
            folder.write(old)
            config = folder.config()
            assert config.snapshot.version == old_version
    folder.write(new)
    assert config.reloader.reload()
    assert config.snapshot.version == new_version
    return held[0], held[1]


def test_a_file_with_both_marks_is_safe_at_every_byte_whatever_it_says(tmp_path: Path) -> None:
    new = marked(text(2, extra=True))
    assert len(new) > 2_000
    assert_never_a_mixture(Folder(tmp_path), marked(text(1)), new)


@pytest.mark.parametrize("head", ["  # an indented comment\n\n", "%YAML 1.1\n# a directive\n"])
def test_what_may_stand_before_the_first_mark_hides_no_cut(tmp_path: Path, head: str) -> None:
    assert_never_a_mixture(Folder(tmp_path), marked(text(1)), head + marked(text(2, extra=True)), step=7)


def test_a_file_that_gains_the_marks_is_safe_at_every_byte(tmp_path: Path) -> None:
    assert_never_a_mixture(Folder(tmp_path), "cache: {ttl: 5}\n", marked(text(2)), step=7)


def test_a_new_file_with_both_marks_is_safe_at_every_byte(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    config = folder.config()
    old = config.snapshot.version
    for content in cuts(marked(text(1)).rstrip(), step=7):
        folder.write(content)
        config.reloader.reload()
        assert config.snapshot.version == old, content[-60:]


def test_a_file_without_marks_that_says_the_same_keys_is_safe_at_every_byte(tmp_path: Path) -> None:
    old, _ = assert_never_a_mixture(Folder(tmp_path), text(1), text(2))
    assert old > 2_000


def test_without_marks_a_cut_of_the_file_as_it_was_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write(text(1))
    config = folder.config()
    version = config.snapshot.version
    for content in cuts(text(1), step=7):
        folder.write(content)
        config.reloader.reload()
        assert config.snapshot.version == version, content[-60:]


def test_without_marks_and_without_an_end_of_its_last_line_a_cut_of_the_file_as_it_was_is_refused(
    tmp_path: Path,
) -> None:
    folder = Folder(tmp_path)
    old = "cache: {ttl: 5}\njobs:\n  deadline_s: 86400"
    folder.write(old)
    config = folder.config()
    version = config.snapshot.version
    for content in cuts(old):
        folder.write(content)
        config.reloader.reload()
        assert config.snapshot.version == version, content


@pytest.mark.parametrize("ends_before", ["providers", "kind"])  # cut between two lines, and within one
def test_what_other_files_say_is_not_judged_without_the_one_that_was_cut(tmp_path: Path, ends_before: str) -> None:
    folder = Folder(tmp_path)
    whole = marked("cache: {ttl: 5}\nproviders: {mine: {kind: openai}}\n")
    folder.write("providers: {enabled: [mine]}\n", "default")
    folder.write(whole)
    config = folder.config()
    assert config.get("cache.ttl") == 5

    folder.write(whole[: whole.index(ends_before)])
    assert not config.reloader.reload()
    [problem] = config.reloader.counts.problems
    assert str(folder.path()) in problem


def test_who_means_to_take_the_last_key_away_says_so_with_the_marks(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 5}\njobs: {deadline_s: 9}\n")
    config = folder.config()
    assert config.get("jobs.deadline_s") == 9

    folder.write("cache: {ttl: 6}\n")
    assert not config.reloader.reload()
    assert "jobs.deadline_s: was the last key of the file and is gone" in config.reloader.counts.problems[0]

    folder.write(marked("cache: {ttl: 5}\n"))
    assert config.reloader.reload()
    assert config.get("jobs.deadline_s") == 86_400


def test_without_marks_a_key_in_the_middle_may_go_and_one_may_come(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 5}\nhealth: {timeout_s: 3}\njobs: {deadline_s: 9}\n")
    config = folder.config()
    assert config.get("health.timeout_s") == 3

    folder.write("cache: {ttl: 5}\njobs: {deadline_s: 9}\n")
    assert config.reloader.reload()
    folder.write("cache: {ttl: 5}\njobs: {deadline_s: 9}\nlimits: {depth: 9}\n")
    assert config.reloader.reload()

    assert (config.get("health.timeout_s"), config.get("limits.depth")) == (10, 9)


def test_a_reload_waits_until_two_readings_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 1}\n")
    config = folder.config()
    assert config.get("cache.ttl") == 1
    writes = iter(range(2, 6))

    def read_while_it_is_written(*args: object) -> Merged:
        if (number := next(writes, None)) is not None:
            folder.write(f"cache: {{ttl: {number}}}\n")
        return read_all(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(steady, "read_all", read_while_it_is_written)

    assert config.reloader.reload()
    assert config.get("cache.ttl") == 5


def test_files_that_never_stand_still_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 1}\n")
    config = folder.config()
    assert config.get("cache.ttl") == 1
    numbers = iter(range(2, 1_000))

    def always_another(*args: object) -> Merged:
        folder.write(f"cache: {{ttl: {next(numbers)}}}\n")
        return read_all(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(steady, "read_all", always_another)

    with pytest.raises(ConfigError, match="kept changing"):
        config.load_config()
    assert config.get("cache.ttl") == 1
