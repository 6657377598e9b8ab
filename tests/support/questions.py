"""Real questions of real, varied length: a data set beside the project, where there is one."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "gsm8k-train.jsonl"


def questions(count: int) -> list[str]:
    """Return the first so many questions; the test is skipped where the data set is not there."""
    if not DATA.exists():
        pytest.skip(f"the data set {DATA.name} is not beside the project")
    with DATA.open(encoding="utf-8") as lines:
        return [json.loads(line)["question"] for line in islice(lines, count)]
