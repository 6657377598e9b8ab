"""Performance: what operations take, here and in the whole fleet, and what is too slow."""

from infrastructure.core.performance_core.alerting import Passed, Thresholds
from infrastructure.core.performance_core.fleet import FleetMetrics, Published, process_instance
from infrastructure.core.performance_core.histogram import Histogram
from infrastructure.core.performance_core.observation import Observation
from infrastructure.core.performance_core.operation import Operation
from infrastructure.core.performance_core.snapshot import Snapshot
from infrastructure.core.performance_core.tracker import PerformanceTracker, get_performance_tracker

__all__ = [
    "FleetMetrics",
    "Histogram",
    "Observation",
    "Operation",
    "Passed",
    "PerformanceTracker",
    "Published",
    "Snapshot",
    "Thresholds",
    "get_performance_tracker",
    "process_instance",
]
