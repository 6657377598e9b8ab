"""The pure parts around the job store: scripts as text, names, amounts of money."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from workers.jobs import ids, keys
from workers.jobs.models import Outcome, Status
from workers.jobs.store import lua, writing


def test_every_script_in_the_folder_has_a_name_and_every_name_a_script() -> None:
    folder = files("workers.jobs.store") / "scripts"
    assert {f"{name}.lua" for name in lua.NAMES} == {p.name for p in folder.iterdir() if p.name.endswith(".lua")}


@pytest.mark.parametrize("name", lua.NAMES)
def test_a_script_has_its_parts_in_place_and_each_once(name: str) -> None:
    text = lua.source(name)
    assert "-- include:" not in text
    assert text.count("local function key(") == 1


@pytest.mark.parametrize("name", lua.NAMES)
def test_every_key_that_a_script_makes_is_in_the_key_map(name: str) -> None:
    made = set(re.findall(r"key\('([a-z]+)'", lua.source(name)))
    assert made
    assert keys.__doc__ is not None
    for first in made:
        assert re.search(rf"^    {first}[: ]", keys.__doc__, re.MULTILINE), first


def test_every_pattern_without_expiry_is_a_row_of_the_key_map_that_says_so() -> None:
    assert keys.__doc__ is not None
    rows = [line for line in keys.__doc__.splitlines() if "none" in line]
    for pattern in keys.WITHOUT_EXPIRY:
        stem = pattern.split("*", maxsplit=1)[0].rstrip(":")
        assert stem in {"idem", "job"} or any(line.strip().startswith(stem) for line in rows), pattern


@pytest.mark.parametrize(
    ("usd", "text"), [(None, ""), (0.0, "0.0"), (1e-07, "1e-07"), (0.1 + 0.2, "0.30000000000000004")]
)
def test_money_is_written_exactly_and_unknown_as_nothing(usd: float | None, text: str) -> None:
    assert writing.money(usd) == text


def test_an_outcome_writes_no_field_for_what_it_does_not_know() -> None:
    fields = writing.outcome(Outcome(status=Status.FAILED))
    assert fields == ["cache", "miss"]


def test_a_cost_of_nothing_is_written_as_zero_and_an_unknown_one_is_not_written() -> None:
    assert "cost" in writing.outcome(Outcome(status=Status.COMPLETED, cost_usd=0.0))
    assert "cost" not in writing.outcome(Outcome(status=Status.COMPLETED, cost_usd=None))


def test_an_id_tells_its_instant_and_another_text_none() -> None:
    assert ids.stamp_ms(ids.new_job_id(1_732_000_000_123)) == 1_732_000_000_123
    assert ids.stamp_ms("job_xyz") == ids.stamp_ms("") == 0


def test_different_idempotency_keys_have_different_digests_of_one_length() -> None:
    digests = {keys.idempotency_digest(key) for key in ("a", "b", "a" * 255)}
    assert len(digests) == 3
    assert {len(digest) for digest in digests} == {32}
