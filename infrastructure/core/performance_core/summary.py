"""Snapshots of processes as one account of the fleet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from infrastructure.core.performance_core import operations as op
from infrastructure.core.performance_core.alerting import Thresholds, passed
from infrastructure.core.performance_core.figures import Figures
from infrastructure.core.performance_core.optimizations import impacts
from infrastructure.core.performance_core.providers import providers
from infrastructure.core.performance_core.snapshot import Measured, Snapshot

MOST_BOTTLENECKS = 10
# Parts of a job's way, whose share of its time tells where the time goes; wholes such as `request` are not among them.
STAGES = (op.QUEUE_WAIT, op.CLAIM, op.AI_COMPLETION, op.COMPLETE, op.SUBMIT)


def summary(snapshots: Sequence[Snapshot], thresholds: Thresholds) -> dict[str, Any]:
    """Return the account; each snapshot is one process's, and counts once."""
    names = sorted({name for one in snapshots for name in one.operations})
    measured = {name: [(one, one.operations[name]) for one in snapshots if name in one.operations] for name in names}
    totals = {name: _sum(one.total for _, one in found) for name, found in measured.items()}
    recents = {name: _sum(one.recent for _, one in found) for name, found in measured.items()}
    checks = max((one.peak for _, one in measured.get(op.HEALTH_CHECK, ())), default=0)
    return {
        "processes": len(snapshots),
        "uptime_ms": round(max(one.uptime_ms for one in snapshots), 1),
        "operations": {name: _operation(measured[name], totals[name], recents[name]) for name in names},
        "providers": providers(totals, snapshots),
        "resources": _resources(snapshots),
        "bottlenecks": _bottlenecks(snapshots, recents, thresholds),
        "optimizations": impacts(totals, _switched(snapshots), concurrent_checks=checks),
    }


def _operation(found: Sequence[tuple[Snapshot, Measured]], total: Figures, recent: Figures) -> dict[str, Any]:
    # Windows differ from process to process: rates add up, counts over one common window would not.
    rate = sum(one.recent.durations.count / at.window_ms * 1_000 for at, one in found if at.window_ms > 0)
    return {
        **total.shown(),
        "throughput_per_s": round(rate, 3),
        "concurrent": sum(one.running for _, one in found),
        "peak_concurrent": max(one.peak for _, one in found),
        "rejected": sum(one.rejected for _, one in found),
        "recent": {"window_ms": round(max(at.window_ms for at, _ in found), 1), **recent.shown()},
    }


def _resources(snapshots: Sequence[Snapshot]) -> dict[str, Any]:
    """Return sums over the processes; the network is the host's, the same for each, so the largest."""
    used = [one.resources for one in snapshots]
    summed = {name: _total(used, name) for name in ("cpu_percent", "memory_mb", "threads")}
    hosts = ("network_sent_bytes_per_s", "network_received_bytes_per_s")
    network = {name.removeprefix("network_"): max((one[name] for one in used if name in one), default=None) for name in hosts}  # fmt: skip
    return {**summed, "most_memory_percent": max((one.get("memory_percent", 0) for one in used), default=0), "network": network}  # fmt: skip


def _total(used: Sequence[Mapping[str, float]], name: str) -> float | None:
    values = [one[name] for one in used if name in one]
    return round(sum(values), 2) if values else None


def _bottlenecks(
    snapshots: Sequence[Snapshot], recents: Mapping[str, Figures], thresholds: Thresholds
) -> list[dict[str, Any]]:
    """Return what passes a limit now, the furthest beyond first, then the stage where most of the time goes."""
    running = {
        name: sum(one.operations[name].running for one in snapshots if name in one.operations) for name in recents
    }
    operations = {name: (recent, running[name]) for name, recent in recents.items()}
    over = list(passed(operations, {}, thresholds))
    over += [limit for one in snapshots for limit in passed({}, one.resources, thresholds)]
    over.sort(key=lambda one: one.value / one.threshold if one.threshold else math.inf, reverse=True)
    return [*(asdict(one) for one in over[:MOST_BOTTLENECKS]), *_slowest_stage(recents)]


def _slowest_stage(recents: Mapping[str, Figures]) -> list[dict[str, Any]]:
    spent = {name: recents[name].durations.sum_ms for name in STAGES if name in recents}
    whole = sum(spent.values())
    if not whole:
        return []
    name = max(spent, key=lambda stage: spent[stage])
    return [{"operation": name, "metric": "share_of_time", "value": round(spent[name] / whole, 4), "threshold": None}]


def _switched(snapshots: Sequence[Snapshot]) -> dict[str, dict[str, Any]]:
    """Return what any process has switched on."""
    merged: dict[str, dict[str, Any]] = {}
    for one in snapshots:
        for name, facts in one.optimizations.items():
            on = merged.get(name, {}).get("enabled", False) or facts.get("enabled", False)
            merged[name] = {**merged.get(name, {}), **facts, "enabled": on}
    return merged


def _sum(parts: Iterable[Figures]) -> Figures:
    whole = Figures()
    for part in parts:
        whole.merge(part)
    return whole
