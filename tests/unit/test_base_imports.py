"""The base interfaces need nothing but Python: whoever wants to speak to a service can take them along."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

BASE = Path(__file__).resolve().parents[2] / "infrastructure" / "base"


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


def test_base_imports_the_standard_library_and_itself_only() -> None:
    names = {name for path in BASE.glob("*.py") for name in imported(path)}
    assert "collections.abc" in names
    assert {name for name in names if name.split(".")[0] not in sys.stdlib_module_names} == {
        "infrastructure.base.base_cache",
        "infrastructure.base.base_config",
        "infrastructure.base.base_logger",
    }
