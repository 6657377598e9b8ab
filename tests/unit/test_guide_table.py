"""The table of `docs/infrastructure.md`: each row names files and tests that exist, or the issue that brings it."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
GUIDE_WORDS = ROOT / "tests/support/guide.md"
_CODE = re.compile(r"`([^`]+)`")
_PATH = re.compile(r"(?:api|config|infrastructure|tests|workers)/[\w/.-]*\Z")
_ISSUE = re.compile(r"\bissue \d\b")


class Row(NamedTuple):
    """One row, and what its second and third cell name in backticks."""

    item: str
    file: str
    test: str

    @property
    def files(self) -> list[str]:
        return [word for word in _CODE.findall(self.file) if _PATH.match(word)]

    @property
    def tests(self) -> list[str]:
        return [word for word in _CODE.findall(self.test) if "::" in word]


def rows() -> list[Row]:
    lines = (ROOT / "docs/infrastructure.md").read_text("utf-8").splitlines()
    cells = [line.removeprefix("| ").removesuffix(" |").split(" | ") for line in lines if line.startswith("| ")]
    return [Row(*three) for three in cells if three != ["guide", "file", "test"]]


@functools.cache
def names_in(path: str) -> frozenset[str]:
    """Return the tests of a file, those of its classes as `Class::test`."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    found = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{one.name}" for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}  # fmt: skip
    return frozenset(found)


def missing(row: Row) -> list[str]:
    """Return what is wrong with a row."""
    if row.test == "-":
        return [] if _ISSUE.search(row.file) else ["neither a test nor the issue that brings it"]
    faults = [name for name in row.files if not (ROOT / name).exists()]
    for name in row.tests:
        path, _, test = name.partition("::")
        if not (ROOT / path).is_file() or re.sub(r"\[.*", "", test) not in names_in(path):
            faults.append(name)
    return faults + [word for word, found in (("no file", row.files), ("no test", row.tests)) if not found]


def test_every_file_and_test_of_the_table_exists() -> None:
    faults = {row.item: found for row in rows() if (found := missing(row))}
    assert faults == {}
    assert len(rows()) > 200


def test_every_class_function_and_method_of_the_guide_has_a_row() -> None:
    table = "\n".join(row.item for row in rows())
    names = set(re.findall(r"(?:def|class) (\w+)", GUIDE_WORDS.read_text("utf-8")))
    names |= set(re.findall(r"\w+\.(\w+)\(", GUIDE_WORDS.read_text("utf-8"))) - {"info", "error"}
    table_lacks = {name for name in names - {"__init__"} if not re.search(rf"\b{name}\b", table)}
    assert table_lacks == set()


@pytest.mark.parametrize(
    "row",
    [
        Row("a", "`infrastructure/none.py`", "`tests/unit/test_guide_table.py::rows`"),
        Row("a", "`api/main.py`", "`tests/unit/test_guide_table.py::test_that_is_not_there`"),
        Row("a", "`api/main.py`", "see above"),
        Row("a", "somewhere", "`tests/unit/test_guide_table.py::rows`"),
        Row("a", "later", "-"),
    ],
)
def test_a_row_that_proves_nothing_is_found(row: Row) -> None:
    assert missing(row)
