"""Variables that are nearly a provider's setting: nobody reads them, and whoever wrote them should know."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from infrastructure.core.config_core.layers import FILE_SUFFIX
from infrastructure.core.config_core.names import ALIASES, NOT_SHARED, provider_variables
from infrastructure.core.config_core.settings import Provider, Settings
from infrastructure.core.config_core.sources import Sources

NEAR = 0.8
_OTHERS = frozenset({"API_BASE", "API_BASE_URL", "API_KEYS", "API_KEY_PATH", "API_TYPE", "API_VERSION", "ORG_ID"})
"""What other programs read behind a provider's name."""


def near_misses(settings: Settings, sources: Sources) -> Iterator[tuple[str, str]]:
    """Yield each variable of an enabled provider's prefix that sets nothing, with the name that it is near to."""
    fields = [field.upper() for field in Provider.model_fields if field not in NOT_SHARED]
    known = {*provider_variables(settings.providers), *ALIASES}
    prefixes = {f"{name.upper().replace('-', '_')}_" for name in settings.enabled}
    for variable, value in sorted(sources.variables().items()):
        prefix = next((one for one in prefixes if variable.startswith(one)), "")
        rest = variable.removeprefix(prefix)
        if not (prefix and value.strip()) or {variable, variable.removesuffix(FILE_SUFFIX)} & known or rest in _OTHERS:
            continue
        for near in difflib.get_close_matches(rest, fields, 1, NEAR):
            yield variable, prefix + near
