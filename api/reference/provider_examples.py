"""Examples of what the API answers of providers and costs."""

from __future__ import annotations

from typing import Any

HEALTH: dict[str, Any] = {
    "provider": "openai", "status": "healthy", "reachable": True, "generates": None, "reason": None,
    "response_time_ms": 184.2, "success_rate": 0.9958, "age_s": 11.4, "fresh": True,
}  # fmt: skip
_MODEL = {
    "model": "gpt-5-mini", "score": 0.001187,
    "score_parts": {"price_usd": 0.000762, "waiting_usd": 0.000407, "throttle": 0.0, "success": 0.9958},
    "breaker": "closed", "account": "closed", "reason": None, "opened_ago_s": None, "next_probe_s": None,
    "throttled_s": 0.0, "success": 0.9958, "latency_ms": 812.4, "window": {"calls": 240, "failures": 1}, "in_flight": 18,
    "learnt_limits": {"concurrency": None, "requests_per_minute": 10_000, "tokens_per_minute": 2_000_000},
    "price": {"input": 0.25, "output": 2.0}, "last_error": "provider_unavailable", "last_error_ago_s": 21.0,
    "heard_ago_s": 0.1,
}  # fmt: skip
PROVIDER: dict[str, Any] = {
    "name": "openai", "kind": "openai", "in_use": True, "unused_because": None, "priority": 1, "timeout_s": 120.0,
    "limits": {"requests_per_minute": None, "tokens_per_minute": None, "concurrency": None}, "health": HEALTH,
    "account": {"breaker": "closed", "reason": None, "opened_ago_s": None, "next_probe_s": None}, "models_left_out": 0,
    "models": [_MODEL],
}  # fmt: skip
COST_SUM: dict[str, Any] = {
    "calls": 1280, "failed": 13, "lost": 0, "unpriced": 2, "maybe_billed": 3, "prompt_tokens": 171520, "completion_tokens": 64000,
    "hits": 311, "joined": 42, "cost_usd": 0.170880, "saved_usd": 0.047124, "lost_upper_usd": 0.0, "maybe_upper_usd": 0.00123,
}  # fmt: skip
COSTS: dict[str, Any] = {
    "object": "list", "by": "provider", "days": 1, "data": [{"provider": "openai", **COST_SUM}], "totals": COST_SUM,
    "probes": {**COST_SUM, "calls": 3, "failed": 0, "unpriced": 0, "maybe_billed": 0, "maybe_upper_usd": 0.0, "prompt_tokens": 33, "completion_tokens": 6,
               "hits": 0, "joined": 0, "cost_usd": 0.00002, "saved_usd": 0.0},
}  # fmt: skip
