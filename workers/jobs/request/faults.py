"""Faults of a request as a caller reads them: where, what was expected, what kind of thing was there instead.

Values are never repeated (they may be prompts), except numbers, which say more than "a number" and cannot hold one. A
member's name is repeated where it has the form of a name and does not look like a key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from infrastructure.core.logger_core.secret_shapes import looks_random, looks_secret

MAX_FAULTS = 100
MAX_NAME = 64
_NAME = re.compile(r"[A-Za-z0-9_$.~/-]{1,64}")

_SENTENCES = {
    "missing": "this field is required",
    "literal_error": "expected {expected}, got {got}",
    "string_type": "expected a string, got {got}",
    "bool_type": "expected true or false, got {got}",
    "int_type": "expected a whole number, got {got}",
    "int_parsing": "expected a whole number, got {got}",
    "enum": "expected {expected}, got {got}",
    "int_from_float": "expected a whole number, got {got}",
    "float_type": "expected a number, got {got}",
    "finite_number": "expected a finite number",
    "list_type": "expected a list, got {got}",
    "dict_type": "expected an object, got {got}",
    "model_type": "expected an object, got {got}",
    "model_attributes_type": "expected an object, got {got}",
    "string_too_short": "expected at least {min_length} character(s), got {got}",
    "string_too_long": "expected at most {max_length} characters, got {got}",
    "string_pattern_mismatch": "expected a text of the form {pattern}, got {got}",
    "too_short": "expected at least {min_length} item(s), got {got}",
    "too_long": "expected at most {max_length} items, got {got}",
    "greater_than": "expected more than {gt}, got {got}",
    "greater_than_equal": "expected at least {ge}, got {got}",
    "less_than": "expected less than {lt}, got {got}",
    "less_than_equal": "expected at most {le}, got {got}",
    "union_tag_invalid": "expected one of {expected_tags}",
    "union_tag_not_found": "this field is required",
    "value_error": "{error}",
}


def faults(
    exc: ValidationError, body: Any, known: Sequence[str], *, known_inside: Sequence[str] = ()
) -> list[dict[str, str]]:
    """Return each fault as `{field, pointer, message}`: a dotted path, the same as a JSON pointer, one clause.

    `known` are the names that the top level may have, for the nearest one to an unknown name, `known_inside` those below it.
    A body with more than
    `MAX_FAULTS` faults gets one that says so.
    """
    if exc.error_count() > MAX_FAULTS:
        return [fault((), f"the body breaks more than {MAX_FAULTS} rules, {exc.error_count()} in all")]
    return [_told(error, body, known, known_inside) for error in exc.errors(include_url=False)]


def fault(path: Sequence[str | int], message: str) -> dict[str, str]:
    """Return one fault at a path into the body."""
    parts = [shown_name(str(part)) for part in path]
    pointer = "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
    return {"field": ".".join(parts) or "body", "pointer": f"#{pointer}", "message": message}


def shown_name(name: str) -> str:
    """Return a member's name, or what stands for one that may be a text or a key."""
    name, given = name[:MAX_NAME], name
    if not _NAME.fullmatch(name) or looks_secret(name) or looks_random(name):
        return f"(a name of {len(given)} characters)"
    return name


def sentence(error: Mapping[str, Any], *, got: str) -> str:
    """Say what one of pydantic's findings is; `got` tells what was there."""
    if error["type"] == "wrong_type":  # ours, from `wire.either`
        return str(error["msg"])
    return _SENTENCES.get(error["type"], "is not valid").format_map({**error.get("ctx", {}), "got": got})


def _told(error: ErrorDetails, body: Any, known: Sequence[str], inside: Sequence[str]) -> dict[str, str]:
    path = _path(error["loc"], body, named=error["type"] in {"missing", "extra_forbidden"})
    if error["type"] == "extra_forbidden":
        return fault(path, _unknown(str(path[-1]), known if len(path) == 1 else inside))
    if error["type"].startswith("union_tag"):
        path = [*path, str(error["ctx"]["discriminator"]).strip("'")]
    return fault(path, sentence(error, got=_got(error["input"])))


def _unknown(name: str, known: Sequence[str]) -> str:
    return "no such field" + nearest_hint(name, known)


def nearest_hint(name: str, known: Sequence[str]) -> str:
    """Return a hint at the known name that is nearest, or nothing."""
    near = difflib.get_close_matches(name[:MAX_NAME], known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _path(loc: tuple[int | str, ...], body: Any, *, named: bool) -> list[int | str]:
    """Return a location without pydantic's names of union branches, which are no part of the body."""
    path: list[int | str] = []
    node = body
    for depth, part in enumerate(loc):
        last = depth == len(loc) - 1
        if isinstance(node, Mapping) and part in node:
            node = node[part]
        elif isinstance(node, list) and isinstance(part, int):
            node = node[part] if part < len(node) else None
        elif not (last and named):
            continue
        path.append(part)
    return path


def _got(value: Any) -> str:
    """Say what a value is without saying it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, (int, float)):
        return repr(value)[:40]
    for kind, name, unit in (
        (str, "a string", "characters"),
        (list, "a list", "items"),
        (dict, "an object", "members"),
    ):
        if isinstance(value, kind):
            counted = unit if len(value) != 1 else unit.removesuffix("s")
            return f"{name} of {len(value)} {counted}" if value else f"an empty {name.split()[1]}"
    return "something else"
