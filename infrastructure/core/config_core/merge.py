"""All layers read and laid over each other; what each of them said is remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from infrastructure.base.base_config import Environment
from infrastructure.core.config_core import layers
from infrastructure.core.config_core.baseline import ORIGIN, baseline
from infrastructure.core.config_core.faults import Fault
from infrastructure.core.config_core.names import PROVIDER_LEAF_DEPTH, is_table
from infrastructure.core.config_core.sources import Sources
from infrastructure.core.config_core.whole import begins, cut
from infrastructure.core.config_core.yaml_file import NotSettings, parse, read_bytes

Said = tuple[Any, str]
File = tuple[bytes, dict[Any, Any]]
"""What a file held, and the tree that it is."""


@dataclass(frozen=True, slots=True)
class Merged:
    """Every key with all that was said of it, lowest layer first; the last one holds."""

    environment: Environment
    said: Mapping[str, tuple[Said, ...]]
    files: Mapping[Path, File] = field(default_factory=dict)
    """What each file held that was there: what a reload compares with."""
    environment_from: str = ""
    """What named the environment; empty where nothing did."""
    unread: bool = False
    """A file is there and is not among them: what the others say is not to be judged without it."""

    @property
    def flat(self) -> layers.Flat:
        """Return what holds: key to value and origin."""
        return {key: said[-1] for key, said in self.said.items()}

    @property
    def origins(self) -> dict[str, str]:
        """Return where each value comes from."""
        return {key: said[-1][1] for key, said in self.said.items()}

    def tree(self) -> dict[str, Any]:
        """Return what holds as nested tables, made anew but for open tables and lists; a section that says nothing takes nothing away."""
        tree: dict[str, Any] = {}
        for path, (value, _) in self.flat.items():
            node, parts = tree, path.split(".")
            for part in parts[:-1]:
                child = node.setdefault(part, {})
                node = child if isinstance(child, dict) else {}
            if value != {} or is_table(path) or not isinstance(node.setdefault(parts[-1], {}), dict):
                node[parts[-1]] = value
        return tree


def read_all(sources: Sources, problems: list[str], before: Mapping[Path, File] | None = None) -> Merged:
    """Read the layers. `before`: the files of the last good configuration, for a reload that must not believe a cut one."""
    environment = sources.which_environment(problems)
    problems += sources.faults()
    files: dict[Path, File] = {}
    unread = [path for path in sources.files(environment) if not read_file(path, files, problems, before)] != []
    below = [_of(baseline(), ORIGIN), *(layers.of_tree(tree, str(path), problems) for path, (_, tree) in files.items())]
    providers = _providers(key for flat in below for key in flat)
    above = (
        layers.read_variables(sources, providers, problems),
        layers.read_secrets(sources, providers, problems),
        layers.read_common(sources, problems),
    )
    return Merged(environment, _stack([*below, *above]), files, sources.environment_from, unread)


def read_file(path: Path, files: dict[Path, File], problems: list[str], before: Mapping[Path, File] | None) -> bool:
    """Add a file that is there to `files`; False with its fault in `problems`."""
    try:
        content = read_bytes(path)
        if content is None:
            return True
        tree = parse(content)
    except NotSettings as exc:
        problems.append(Fault(str(exc), key=exc.key, layer=str(path), code=exc.code))
        return False
    if before is not None and (fault := cut(content, tree, before.get(path))):
        why, key = fault
        problems.append(Fault(why, key=key, layer=str(path), code="cut"))
        if begins(content):
            return False
    files[path] = (content, tree)
    return True


def with_overrides(merged: Merged, overrides: Mapping[str, Any]) -> Merged:
    """Return the layers with what `set` was told on top."""
    top: layers.Flat = {key: (value, "set in the process") for key, value in overrides.items()}
    return replace(merged, said=_stack([top], merged.said))


def _of(tree: Mapping[str, Any], origin: str) -> layers.Flat:
    return {key: (value, origin) for key, value in layers.flatten(tree)}


def _providers(keys: Iterable[str]) -> set[str]:
    parts = [key.split(".") for key in keys]
    return {one[1] for one in parts if one[0] == "providers" and len(one) >= PROVIDER_LEAF_DEPTH}


def _stack(
    flats: Iterable[layers.Flat], said: Mapping[str, tuple[Said, ...]] | None = None
) -> dict[str, tuple[Said, ...]]:
    stacked = dict(said or {})
    for flat in flats:
        for key, one in flat.items():
            stacked[key] = (*stacked.get(key, ()), one)
    return stacked
