"""The demo's questions: read from a file of JSON lines."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from api.cli.errors import CommandFailed
from infrastructure.core.config_core.sources import REPOSITORY_CONFIG

SHIPPED = REPOSITORY_CONFIG / "ai-provider" / "examples" / "questions.jsonl"
MAX_FILE_BYTES = 100_000_000


def read_questions(path: Path = SHIPPED, *, count: int | None = None) -> list[str]:
    """Return the questions of a file, one JSON object with `question` a line; `count` takes the first, or goes round again.

    Raises:
        CommandFailed: the file cannot be read, or a line is not as expected.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise CommandFailed(f"{path}: expected at most {MAX_FILE_BYTES:,} bytes")
        lines = path.read_text("utf-8").splitlines()
    except OSError as exc:
        raise CommandFailed(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise CommandFailed(f"{path}: expected UTF-8 text") from exc
    questions = [_question(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
    if not questions:
        raise CommandFailed(f"{path}: expected questions, found none")
    return list(itertools.islice(itertools.cycle(questions), count or len(questions)))


def _question(line: str, place: str) -> str:
    try:
        value = json.loads(line)
    except ValueError as exc:
        raise CommandFailed(f"{place}: expected a JSON object") from exc
    question = value.get("question") if isinstance(value, dict) else None
    if not isinstance(question, str) or not question.strip():
        raise CommandFailed(f'{place}: expected {{"question": "…"}}')
    return question
