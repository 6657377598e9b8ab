"""What `set` puts above all layers: leaves of the tree, as every layer is, and what a configuration is with them on top."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping
from typing import Any

from infrastructure.core.config_core.build import ENVIRONMENT, Loaded, loaded_of
from infrastructure.core.config_core.layers import flatten
from infrastructure.core.config_core.merge import Merged, with_overrides
from infrastructure.core.config_core.names import table_of
from infrastructure.core.config_core.snapshot import Snapshot
from infrastructure.core.config_core.trees import ABSENT, find


def added_by(key: str, value: Any, tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys that are set: a section's, one, or a whole table with the entry that was meant changed in it."""
    value = copy.deepcopy(value)
    if table := table_of(key):
        entries = find(tree, table)
        return {table: {**({} if entries is ABSENT else entries), key[len(table) + 1 :]: value}}
    return dict(flatten({key: value})) if isinstance(value, dict) else {key: value}


def overridden(current: Snapshot, replaced: Collection[str], overrides: Mapping[str, Any]) -> Loaded:
    """Return what the layers of `current` make with these overrides in place of the keys that were overridden there.

    Raises:
        ConfigError: there is no such key, or it cannot have this value.
    """
    loaded = current.loaded
    below = {key: kept for key, said in loaded.said.items() if (kept := said[: len(said) - (key in replaced)])}
    below.pop(ENVIRONMENT, None)  # no key of a layer
    where = loaded.origins.get(ENVIRONMENT, "")
    merged = Merged(current.settings.environment, below, loaded.files, where)
    return loaded_of(with_overrides(merged, overrides), [])
