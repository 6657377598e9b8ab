"""The guide's code blocks, read from `guide.md`: as text, and as coroutines that can be run."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

_BLOCK = re.compile(r"^## (?P<name>[^\n]+)\n\n```\w*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = {
    found["name"]: found["text"] for found in _BLOCK.finditer(Path(__file__).with_suffix(".md").read_text("utf-8"))
}
"""Name and text of each block, in the guide's order; the import path is that of our layout."""
BLOCKS = {name: text.replace("src.infrastructure", "infrastructure") for name, text in BLOCKS.items()}


async def run(name: str, **names: Any) -> Any:
    """Run a block as the body of an async function, with these names known, and return its own names, or what it returns."""
    body = textwrap.indent(BLOCKS[name], "    ")
    source = f"async def example({', '.join(names)}):\n{body}\n    return locals()\n"
    space: dict[str, Any] = {}
    exec(compile(source, f"<the guide: {name}>", "exec"), space)
    return await space["example"](**names)


def classes(name: str, **names: Any) -> dict[str, Any]:
    """Define the classes of a block, with these names known, and return what it defined."""
    space = dict(names)
    exec(compile(BLOCKS[name], f"<the guide: {name}>", "exec"), space)
    return {key: value for key, value in space.items() if key not in names and not key.startswith("__")}
