"""Values that fit a JSON schema, for tool calls and structured answers."""

from __future__ import annotations

from typing import Any

_DEEPEST = 8


def fill(schema: Any, text: str, *, depth: int = 0) -> Any:
    """Return a small value that fits a JSON schema's types, with `text` in its strings.

    Knows `const`, `enum`, `anyOf`, objects with their required properties, arrays and the plain types; no patterns,
    ranges or references. Nesting beyond 8 is null.
    """
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("anyOf"):
        return fill(schema["anyOf"][0], text, depth=depth + 1)
    return _of_type(schema, text, depth)


def _of_type(schema: dict[str, Any], text: str, depth: int) -> Any:
    kind = schema.get("type")
    match kind[0] if isinstance(kind, list) and kind else kind:
        case "object":
            properties = schema.get("properties") or {}
            wanted = schema.get("required", list(properties))
            return {name: fill(properties.get(name), text, depth=depth + 1) for name in wanted}
        case "array":
            return [fill(schema.get("items"), text, depth=depth + 1)]
        case "integer" | "number":
            return 1
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return text
