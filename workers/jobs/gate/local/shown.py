"""How a target in memory stands, as the value that both gates answer; and back."""

from __future__ import annotations

from workers.jobs.gate.local.account import Account
from workers.jobs.gate.local.breaker import Switch
from workers.jobs.gate.local.target import LocalTarget, Share
from workers.jobs.gate.models import Breaker, TargetState
from workers.jobs.gate.rules import Rules


def shown(provider: str, model: str, account: Account, target: LocalTarget, *, now: float, rules: Rules) -> TargetState:
    """Return how a target stands."""
    calls, failures = target.window.counted(now=now, rules=rules)
    switches = (target.switch, account.switch)
    shut = next((switch for switch in switches if switch.state is not Breaker.CLOSED), None)
    return TargetState(
        provider=provider,
        model=model,
        breaker=target.switch.state,
        account=account.switch.state,
        reason=shut.reason if shut else "",
        opened_ago_ms=_ago(shut.opened, now) if shut else None,
        next_probe_ms=int(max(switch.wait_ms(now, rules) for switch in switches)) if shut else None,
        throttled_ms=int(max(0, target.throttled_until - now)),
        success=target.success.now(now),
        throttle=target.throttle.now(now),
        latency_ms=target.latency_now(now),
        calls=calls,
        failures=failures,
        in_flight=target.in_flight,
        concurrency_limit=target.limit,
        requests_per_minute=target.requests.limit,
        tokens_per_minute=target.tokens.limit,
        last_error=target.error,
        last_error_ago_ms=_ago(target.error_at, now),
        heard_ago_ms=_ago(target.heard, now),
    )


def adopt(state: TargetState, account: Account, target: LocalTarget, *, now: float, rules: Rules) -> None:
    """Make a target stand as `state` says, which is what the fleet last saw of it; its calls in flight are not ours."""
    _adopt(account.switch, state.account, state, now=now, rules=rules)
    _adopt(target.switch, state.breaker, state, now=now, rules=rules)
    target.used, target.throttled_until = now, now + state.throttled_ms
    target.success, target.throttle = Share(1, state.success, now), Share(0, state.throttle, now)
    target.latency_ms, target.latency_at = state.latency_ms, now
    target.limit, target.most = state.concurrency_limit, max(target.most, state.in_flight)
    target.error = state.last_error
    target.error_at = None if state.last_error_ago_ms is None else now - state.last_error_ago_ms
    target.heard = None if state.heard_ago_ms is None else now - state.heard_ago_ms


def _adopt(switch: Switch, breaker: Breaker, state: TargetState, *, now: float, rules: Rules) -> None:
    if breaker is Breaker.CLOSED:
        switch.close()
    elif switch.state is Breaker.CLOSED:
        switch.open(state.reason, now=now, pause_ms=rules.probe_ms, jitter=1)
        switch.opened = now - (state.opened_ago_ms or 0)
        switch.next = now + (state.next_probe_ms or 0)


def _ago(instant: float | None, now: float) -> int | None:
    return None if instant is None else int(max(0, now - instant))
