"""Sixty files that are no configuration: refused by name, and what was in force stays in force."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from infrastructure.core.config_core.build import load_from
from infrastructure.core.config_core.faults import Fault
from infrastructure.core.error_core import ConfigError
from tests.support.configuration import Folder, without_permission

GOOD = "cache: {ttl: 100}\nlogging: {level: error}\n"
PLANTED = "sk-planted-secret-0123456789"
NESTED = "a: " * 2_000

# What the file holds, a word of the message, and the key that the message names, where there is one.
CONTENTS: dict[str, tuple[str | bytes, str, str]] = {
    # syntax
    "an open list": ("cache: {ttl: [1", "not valid YAML", ""),
    "an open mapping": ("cache: {ttl: 1\n", "not valid YAML", ""),
    "an open quote": ('logging: {level: "info}\n', "not valid YAML", ""),
    "a tab as indentation": ("cache:\n\tttl: 1\n", "not valid YAML", ""),
    "a wrong indentation": ("cache:\n  ttl: 1\n enabled: true\n", "not valid YAML", ""),
    "a colon too many": ("cache: ttl: 1\n", "not valid YAML", ""),
    "two documents": ("cache: {ttl: 1}\n---\ncache: {ttl: 2}\n", "not valid YAML", ""),
    "an unknown tag": ("cache: !python/object:os.system {}\n", "not valid YAML", ""),
    "a tag that runs code": ("cache: !!python/object/apply:os.system ['true']\n", "not valid YAML", ""),
    "a directive that is none": ("%NOPE\n---\ncache: {ttl: 1}\n", "", ""),
    "a binary tag": ("cache: !!binary '*'\n", "cache", "cache"),
    "deep nesting in one line": ("{a: " * 3_000, "not valid YAML", ""),
    # what it is
    "a list": ("- 1\n", "expected keys and values, got a list", ""),
    "a text": ("hello\n", "expected keys and values, got a str", ""),
    "a number": ("5\n", "expected keys and values, got a int", ""),
    "a truth value": ("true\n", "expected keys and values, got a bool", ""),
    "a date": ("2024-01-01\n", "expected keys and values, got a date", ""),
    "JSON's list": ("[1, 2]\n", "expected keys and values", ""),
    # bytes
    "a byte order mark": (b"\xef\xbb\xbf" + GOOD.encode(), "byte order mark", ""),
    "UTF-16": (GOOD.encode("utf-16"), "expected", ""),
    "Latin-1": ("service: {description: café}\n".encode("latin-1"), "expected UTF-8", ""),
    "half a character": (b"service: {description: caf\xc3}\n", "expected UTF-8", ""),
    "a NUL": (b"cache: {ttl: 1}\n\0", "NUL", ""),
    "NULs where a crash left a hole": (b"\0" * 4_096, "NUL", ""),
    "an escape character": ("service: {description: \x1b}\n", "not valid YAML", ""),
    "gzip": (b"\x1f\x8b\x08\x00abc", "expected", ""),
    # size
    "ten megabytes": ("cache: {ttl: 1}\n" + "# filler\n" * 1_200_000, "expected at most", ""),
    "a bomb of aliases": ("a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n", "aliases", ""),
    "one alias": ("cache: &c {ttl: 1}\nhealth: *c\n", "aliases", ""),
    "a merge of aliases": ("x: &x {ttl: 1}\ncache:\n  <<: *x\n", "aliases", ""),
    # doubled keys
    "a section twice": ("cache: {ttl: 1}\ncache: {ttl: 2}\n", "stands twice", "cache"),
    "a key twice": ("cache: {ttl: 1, ttl: 2}\n", "stands twice", "cache.ttl"),
    "a provider twice": ("providers: {openai: {priority: 1}, openai: {priority: 2}}\n", "stands twice", "providers.openai"),
    "a key nested and with dots": ("cache: {ttl: 1}\ncache.ttl: 2\n", "stands twice", "cache.ttl"),
    # unknown keys
    "an unknown section": ("cach: {ttl: 1}\n", "no such setting", "cach"),
    "an unknown key": ("cache: {tll: 1}\n", "did you mean cache.ttl?", "cache.tll"),
    "an unknown key of a provider": ("providers: {openai: {pririty: 1}}\n", "providers.openai.priority?", "providers.openai.pririty"),
    "an unknown key deep down": ("scaling: {completions: {mix: 1}}\n", "no such setting", "scaling.completions.mix"),
    "a number as key": ("1: 2\n", "no such setting", "1"),
    "a setting of the inside": ("version: 3\n", "no such setting", "version"),
    "the environment": ("environment: production\n", "INFRASTRUCTURE_ENV", "environment"),
    "enabled in the wrong place": ("enabled: [openai]\n", "providers.enabled", "enabled"),
    # types
    "words for a number": ("service: {port: eighty}\n", "integer", "service.port"),
    "yes for a number": ("service: {port: yes}\n", "true or false", "service.port"),
    "no for a word": ("sandbox: {mode: off}\n", "true or false", "sandbox.mode"),
    "a list for a number": ("cache: {ttl: [1]}\n", "integer", "cache.ttl"),
    "a mapping for a number": ("cache: {ttl: {seconds: 5}}\n", "integer", "cache.ttl"),
    "a number for a name": ("redis: {prefix: 12}\n", "string", "redis.prefix"),
    "nothing for a section": ("cache:\n", "", "cache"),
    "a text for a section": ("logging: verbose\n", "", "logging"),
    "a word for a truth value": ("cache: {enabled: maybe}\n", "boolean", "cache.enabled"),
    "half a port": ("service: {port: 80.5}\n", "integer", "service.port"),
    # ranges
    "a port too high": ("service: {port: 65536}\n", "65535", "service.port"),
    "a lifetime of nothing": ("cache: {ttl: 0}\n", "1", "cache.ttl"),
    "a lifetime too long": ("cache: {ttl: 604801}\n", "604800", "cache.ttl"),
    "an endless deadline": ("jobs: {deadline_s: .inf}\n", "finite", "jobs.deadline_s"),
    "no number": ("jobs: {deadline_s: .nan}\n", "finite", "jobs.deadline_s"),
    "a priority of none": ("providers: {openai: {priority: 0}}\n", "1", "providers.openai.priority"),
    "too many tokens": ("providers: {openai: {max_tokens: 10000001}}\n", "10000000", "providers.openai.max_tokens"),
    "a level that is none": ("logging: {level: loud}\n", "'debug'", "logging.level"),
    # rules
    "no provider at all": ("providers: {enabled: []}\n", "at least one", "providers.enabled"),
    "a provider that nobody configured": ("providers: {enabled: [opnai]}\n", "did you mean openai?", "providers.enabled"),
    "a candidate without a model": ("models: {m: [openai]}\n", "provider/model", "models.m"),
    "a candidate of nobody": ("models: {m: [opnai/x]}\n", "did you mean openai?", "models.m"),
    "a key with a space": (f"providers: {{openai: {{api_key: '{PLANTED} x'}}}}\n", "printable", "providers.openai.api_key"),
    "a placeholder for a key": ("providers: {openai: {api_key: your-api-key-here}}\n", "placeholder", "providers.openai.api_key"),
    "another provider's key": ("providers: {openai: {api_key: sk-ant-api03-x}}\n", "anthropic", "providers.openai.api_key"),
    "a secret of the wrong type": (f"providers: {{openai: {{api_key: [{PLANTED}]}}}}\n", "string", "providers.openai.api_key"),
    "a secret in bad YAML": (f"providers: {{openai: {{api_key: {PLANTED}: [\n", "not valid YAML", ""),
}  # fmt: skip


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def a_dangling_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def a_link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def a_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


THINGS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a folder in its place": (a_folder, "found"),
    "a link that leads nowhere": (a_dangling_link, "link that leads nowhere"),
    "a link that leads to itself": (a_link_to_itself, "cannot be read"),
    "a device": (a_device, "found something else"),
}


def refused(folder: Folder, change: Callable[[], object], word: str, key: str) -> None:
    """Reload after a change; assert that it is refused by name and that the old values hold."""
    config = folder.config()
    version = config.snapshot.version

    change()

    assert config.reloader.reload() is False
    assert (config.get("cache.ttl"), config.get("logging.level")) == (100, "error")
    assert config.snapshot.version == version
    metrics = config.get_metrics()
    assert metrics["reload_failures"] == 1
    told = "\n".join(metrics["last_failure"]["problems"])
    assert word in told
    assert str(folder.path()) in told
    assert PLANTED not in told
    problems = config.reloader.counts.problems
    assert all(isinstance(problem, Fault) and problem.layer == str(folder.path()) for problem in problems)
    assert key in {problem.key for problem in problems if isinstance(problem, Fault)}


def test_there_are_sixty_of_them() -> None:
    assert len(CONTENTS) + len(THINGS) + 1 >= 60


@pytest.mark.parametrize("name", CONTENTS)
def test_a_file_that_is_no_configuration_is_refused_and_the_old_values_are_kept(name: str, tmp_path: Path) -> None:
    content, word, key = CONTENTS[name]
    folder = Folder(tmp_path)
    folder.write(GOOD)
    refused(folder, lambda: folder.write(content), word, key)

    with pytest.raises(ConfigError):  # nor does a process start with it
        load_from(folder.sources())


@pytest.mark.parametrize("name", THINGS)
def test_what_is_no_file_is_refused_and_the_old_values_are_kept(name: str, tmp_path: Path) -> None:
    replace, word = THINGS[name]
    folder = Folder(tmp_path)
    path = folder.write(GOOD)
    refused(folder, lambda: replace(path), word, "")


def test_a_file_that_may_not_be_read_is_refused_and_the_old_values_are_kept(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith("pytest"):
            parent.chmod(0o755)
    folder = Folder(tmp_path)
    path = folder.write(GOOD)
    config = folder.config()
    assert config.get("cache.ttl") == 100

    undo = without_permission(path)
    try:
        assert config.reloader.reload() is False
    finally:
        undo()

    assert config.get("cache.ttl") == 100
    assert "cannot be read: Permission denied" in config.get_metrics()["last_failure"]["problems"][0]


def test_a_folder_that_is_gone_leaves_a_configuration_that_is_not_half_of_the_old_one(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.write("cache: {ttl: 100}\nproviders: {enabled: []}\n", "default")
    folder.write("providers: {enabled: [openai]}\n")
    config = folder.config()
    assert config.get("cache.ttl") == 100

    shutil.rmtree(folder.root)

    assert config.reloader.reload() is True
    assert config.get("cache.ttl") == 300
    assert config.get("providers.enabled") == ["openai", "anthropic", "google", "deepseek"]
