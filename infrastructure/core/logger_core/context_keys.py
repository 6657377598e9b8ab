"""The allow-list: every key that a line's context may have, with the kind of value that it may hold.

A key that is missing here is shown with its value withheld, or not at all; `tests/unit/test_logger_keys.py` finds those that
the service's own code uses. Numbers are harmless under every key and are let through.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final


class Kind(Enum):
    """What a text under a key may look like."""

    NUMBER = "no text at all"
    NAME = "a name or word: letters, digits and ._:/@+*#- without a space, nothing that looks random"
    ID = "an id: letters, digits and ._:@-"
    PATH = "a route or file path: without a query, percent signs or spaces"
    PLACE = "file.py:12 in function"
    SHARE = "90% or 90% faster"

    __hash__ = object.__hash__  # an Enum's own costs a call in Python, for each value of each line


_NUMBERS = (
    "again_in_s age_ms attempt bytes cost cost_estimate cost_usd count delay_ms duration_ms error_rate expired "
    "failover_time_ms failures hit_rate in_flight latency_ms limit_mb lines lost oldest_age_s pid poisoned port pruned queued "
    "ready recommended rescued resident_mb response_time_ms retry_count rung running status_code stop_s success_rate threshold "
    "threshold_ms tokens value waiting will_failover window_s within_s workers dropped redacted"
)
_NAMES = (
    "action before breaker cache check cause causes class code config_version environment error error_type event event_name event_type "
    "field from_provider instance kind layer level method mode model name new_version old_version operation outcome part pattern "
    "provider providers queue reason removed role service setting severity signal source state status step tags tier to_provider "
    "topic version warning added changed"
)
_IDS = "batch_id cache_key call_id endpoint_id file_id job_id key_id message_id owner request_id service_id task_id tenant user_id"
_PATHS = "file folder layer_path path route"

KNOWN: Final = MappingProxyType(
    dict.fromkeys(_NUMBERS.split(), Kind.NUMBER)
    | dict.fromkeys(_NAMES.split(), Kind.NAME)
    | dict.fromkeys(_IDS.split(), Kind.ID)
    | dict.fromkeys(_PATHS.split(), Kind.PATH)
    | {"at": Kind.PLACE, "trace": Kind.PLACE, "performance_improvement": Kind.SHARE, "cache_hit_rate": Kind.SHARE}
)
