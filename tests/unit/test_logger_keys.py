"""Every context key that the service's code spells is on the allow-list, and every text it hands to a logger is its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from infrastructure.core.logger_core.context_keys import KNOWN

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for folder in ("api", "workers", "infrastructure") for path in (ROOT / folder).rglob("*.py"))
METHODS = {"debug", "info", "warning", "error", "critical", "log_business_event"}
LOGGERS = {"log", "_log", "logger", "_logger"}
MESSAGE_CONSTANTS = {
    "PROVIDER_COMPLETION_FAILED",
    "AI_COMPLETION_SUCCESS",
    "PROVIDER_FAILOVER",
    "PROVIDER_HEALTH_CHECK",
    "CACHE_HIT",
}


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Yield the calls of a logger's methods."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            owner = node.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            if name in LOGGERS and node.args:
                yield node


def keys_of(context: ast.AST, module: ast.Module) -> Iterator[str]:
    """Yield the keys of a call's context: of the dictionaries in it, and of those that its names and calls stand for."""
    for part in ast.walk(context):
        if isinstance(part, ast.Dict):
            yield from (key.value for key in part.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))
        elif isinstance(part, ast.Name):
            for node in ast.walk(module):
                if isinstance(node, ast.Assign) and any(getattr(one, "id", "") == part.id for one in node.targets):
                    yield from keys_of_dict(node.value)
                elif isinstance(node, ast.FunctionDef) and node.name == part.id:
                    for inner in ast.walk(node):
                        if isinstance(inner, ast.Return) and inner.value is not None:
                            yield from keys_of_dict(inner.value)


def keys_of_dict(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Dict):
        yield from (key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str))


def faults_of(path: Path) -> Iterator[str]:
    module = ast.parse(path.read_text("utf-8"))
    for call in calls(module):
        where = f"{path.relative_to(ROOT)}:{call.lineno}"
        message = call.args[0]
        known = isinstance(message, ast.Name) and message.id in MESSAGE_CONSTANTS
        if not known and not isinstance(message, ast.Constant) and call.func.attr != "log_business_event":  # type: ignore[attr-defined]
            yield f"{where}: expected the message to be a constant"
        contexts = [*call.args[1:], *(one.value for one in call.keywords if one.arg in {"context", "event_data"})]
        unknown = {key for context in contexts for key in keys_of(context, module)} - KNOWN.keys()
        if unknown:
            yield f"{where}: expected the keys to stand in context_keys.py, got {sorted(unknown)}"


def test_the_keys_and_messages_of_the_services_lines_come_out() -> None:
    assert [fault for path in FILES for fault in faults_of(path)] == []


def test_the_search_sees_the_services_calls_and_their_keys() -> None:
    found = [call for path in FILES for call in calls(ast.parse(path.read_text("utf-8")))]
    assert len(found) > 20
    code = "def _a():\n    return {'x': 1}\nb = {'y': 1}\nlog.info('m', context={**_a(), **b, 'z': 1})"
    module = ast.parse(code)
    (call,) = calls(module)
    assert set(keys_of(call.keywords[0].value, module)) == {"x", "y", "z"}
