"""`ai-provider providers`: how they do, as the running service tells it; without one, what is configured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from api.cli import config, output
from api.cli.client import Client, NoService

Row = dict[str, Any]
LEAST_NAME, MODEL_MOST = 8, 40
INDENT = GAP = "  "
HEADINGS = ("model", "score", "breaker", "in flight", "success", "latency", "$/M in, out")
COST_HEADINGS = ("calls", "failed", "tokens in", "out", "cost", "saved")
PIPED = ("provider", "health", "priority", *HEADINGS, "throttled", "next try", "window calls", "window failed", "price part",
         "waiting part", "throttle part", "success part", "requests/min", "tokens/min", "last error")  # fmt: skip
STYLES = {"healthy": "green", "degraded": "yellow", "down": "red", "refused": "red", "unknown": "dim"}


def show(*, url: str | None, as_json: bool) -> None:
    """Write the service's table of providers; where no service answers, say so and write what is configured."""
    try:
        with Client.from_options(url) as client:
            page = client.providers()
    except NoService as exc:
        output.note(f"{exc.message}. What is configured:")
        config.providers(as_json=as_json)
        return
    if as_json:
        output.dump(page)
    elif output.stdout().is_terminal:
        _draw(page["data"])
    else:
        output.table(PIPED, [row for one in page["data"] for row in _piped(one)], titled=True)


def show_costs(*, url: str | None, days: int, by: str, as_json: bool) -> None:
    """Write what calls cost by tenant, provider, model or day, with totals."""
    with Client.from_options(url) as client:
        table = client.costs(days=days, by=by)
    if as_json:
        output.dump(table)
        return
    found = (
        table["data"] if by == "day" else sorted(table["data"], key=lambda row: (-(row["cost_usd"] or 0.0), row[by]))
    )
    rows = [(row[by], *_cost_cells(row)) for row in found]
    headings = (by, *COST_HEADINGS)
    rows.append(("total", *_cost_cells(table["totals"])))
    if (table.get("probes") or {}).get("calls"):
        rows.append(("health probes", *_cost_cells(table["probes"])))
    if not output.stdout().is_terminal:
        output.table(headings, rows, titled=True)
        return
    console, widths = output.stdout(), _widths(headings, rows, within=output.stdout().width)
    console.print(Text(_line(headings, widths), style="bold"), soft_wrap=True)
    for row in rows:
        console.print(Text(_line(row, widths), style="bold" if row[0] == "total" else ""), soft_wrap=True)
    if unknown := _unknown(table["totals"]):
        output.note(f"? calls that are not in the sum: {unknown}")


def _unknown(row: Row) -> str:
    """Say of how many calls the cost is unknown, and why."""
    unpriced, maybe, most = row["unpriced"], row["maybe_billed"], row["maybe_upper_usd"]
    bound = "" if most is None else f", {output.usd(most)} at most"
    parts = (unpriced and f"{unpriced:,} without a price", maybe and f"{maybe:,} that may have been billed{bound}")
    return "; ".join(part for part in parts if part)


def _draw(providers: Sequence[Row]) -> None:
    console = output.stdout()
    used = [one for one in providers if one["in_use"]]
    cells = {id(model): _cells(one, model) for one in used for model in one["models"]}
    widths = _widths(HEADINGS, list(cells.values()), within=console.width - len(INDENT))
    console.print(Text(INDENT + _line(HEADINGS, widths), style="bold"), soft_wrap=True)
    for one in used:
        console.print(_title(one), soft_wrap=True)
        for model in one["models"]:
            _draw_model(one, model, _line(cells[id(model)], widths))
        if one.get("models_left_out"):
            console.print(
                Text(f"{INDENT}and {one['models_left_out']} more that callers named", style="dim"), soft_wrap=True
            )
    for one in providers:
        if not one["in_use"]:
            console.print(Text(f"{one['name']}  {one['unused_because']}", style="dim"), soft_wrap=True)
    if not used:
        output.note("No provider is in use.")


def _draw_model(one: Row, model: Row, line: str) -> None:
    console = output.stdout()
    style = "" if model["breaker"] == "closed" == model["account"] else "red"
    console.print(Text(INDENT).append(line, style=style), soft_wrap=True)
    for more in _packed(_more(one, model), within=console.width - 2 * len(INDENT)):
        console.print(Text(2 * INDENT + more, style="dim"), soft_wrap=True)


def _more(one: Row, model: Row) -> list[str]:
    """Return what does not fit a column: the window, the parts of the score, limits, the last error."""
    window, parts, rates = model["window"], model["score_parts"], _rates(one, model)
    said = [f"last 30 s: {window['calls']} calls, {window['failures']} failed"] if window["calls"] else []
    if model["success"] is not None:
        said.append(
            f"score: ({_usd(parts['price_usd'])} price + {_usd(parts['waiting_usd'])} waiting)"
            f" x {1 + parts['throttle']:.2f} / {parts['success']:.3f}"
        )
    said += [
        f"{figure} {unit}" for figure, unit in zip(rates, ("requests/min", "tokens/min"), strict=True) if figure != "-"
    ]
    return said + ([f"last error {error}"] if (error := _last_error(model)) else [])


def _packed(said: Sequence[str], *, within: int) -> list[str]:
    """Return the texts in as few lines as they take."""
    lines: list[str] = []
    for text in said:
        if lines and len(lines[-1]) + len("; ") + len(text) <= within:
            lines[-1] += f"; {text}"
        else:
            lines.append(text)
    return lines


def _title(one: Row) -> Text:
    health = one["health"]
    text = Text.assemble((one["name"], "bold"), "  ", (health["status"], STYLES.get(health["status"], "")))
    said = [f" ({health['reason']})" if health["reason"] else ""]
    if health["age_s"] is not None:
        said.append(f", checked {_span(health['age_s'])} ago")
    said.append(f", priority {one['priority']}")
    text.append("".join(said))
    if one["account"]["breaker"] != "closed":
        text.append(f", account {_breaker(one['account']['breaker'], one['account']['next_probe_s'])}", style="red")
    return text


def _cells(one: Row, model: Row) -> tuple[str, ...]:
    state = model["breaker"] if model["breaker"] != "closed" else model["account"]
    breaker = _breaker(state, model["next_probe_s"])
    if state == "closed" and model["throttled_s"]:
        breaker = f"429, {_span(model['throttled_s'])}"
    return (
        model["model"],
        _usd(model["score"]),
        breaker,
        _in_flight(one, model),
        _share(model["success"]),
        _latency(model["latency_ms"]),
        _price(model["price"]),
    )


def _piped(one: Row) -> list[tuple[str, ...]]:
    if not one["in_use"] or not one["models"]:
        state = one["unused_because"] or one["health"]["status"]
        return [(one["name"], state, str(one["priority"]), *["-"] * (len(PIPED) - 3))]
    return [_piped_model(one, model) for model in one["models"]]


def _in_flight(one: Row, model: Row) -> str:
    """Return the calls in flight, and of how many where a limit is known: the account's, or what it was found to stand."""
    limits = [one["limits"]["concurrency"], model["learnt_limits"]["concurrency"]]
    least = min((limit for limit in limits if limit is not None), default=None)
    return f"{model['in_flight']}" if least is None else f"{model['in_flight']}/{int(least)}"


def _rates(one: Row, model: Row) -> tuple[str, str]:
    """Return the limits of requests and tokens a minute in force: the configured, or what the provider told."""
    names = ("requests_per_minute", "tokens_per_minute")
    limits = ([one["limits"][name], model["learnt_limits"][name]] for name in names)
    requests, tokens = (min((limit for limit in both if limit is not None), default=None) for both in limits)
    return "-" if requests is None else f"{requests:,}", "-" if tokens is None else f"{tokens:,}"


def _piped_model(one: Row, model: Row) -> tuple[str, ...]:
    name, score, _, *others = _cells(one, model)
    state = model["breaker"] if model["breaker"] != "closed" else model["account"]
    due = "-" if model["next_probe_s"] is None else _span(model["next_probe_s"])
    throttled = _span(model["throttled_s"]) if model["throttled_s"] else "-"
    window, parts = model["window"], model["score_parts"]
    figures = (str(window["calls"]), str(window["failures"]), _usd(parts["price_usd"]), _usd(parts["waiting_usd"]),
               f"{parts['throttle']:.4f}", f"{parts['success']:.4f}")  # fmt: skip
    named = (one["name"], one["health"]["status"], str(one["priority"]), name, score, state, *others)
    return (*named, throttled, due, *figures, *_rates(one, model), _last_error(model) or "-")


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]], *, within: int) -> list[int]:
    """Return the columns' widths; the first one gives way where a line would be wider than `within`."""
    widths = [max([len(name), *(len(row[place]) for row in rows)]) for place, name in enumerate(headings)]
    left = within - sum(widths[1:]) - len(GAP) * (len(widths) - 1)
    widths[0] = max(LEAST_NAME, min(widths[0], MODEL_MOST, left))
    return widths


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *figures = cells
    first = name if len(name) <= widths[0] else f"{name[: widths[0] - 1]}…"
    aligned = [f"{cell:>{width}}" for cell, width in zip(figures, widths[1:], strict=True)]
    return GAP.join([f"{first:<{widths[0]}}", *aligned])


def _breaker(state: str, next_probe_s: float | None) -> str:
    if state == "closed":
        return "closed"
    if state == "half_open":
        return "trying"
    return "open, due" if not next_probe_s else f"open, {_span(next_probe_s)}"


def _last_error(model: Row) -> str:
    if not model["last_error"]:
        return ""
    return f"{model['last_error']} {_span(model['last_error_ago_s'])} ago"


def _span(seconds: float) -> str:
    """Return a span in one unit."""
    for unit, length in (("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f} %"


def _latency(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:.0f} ms" if ms < 10_000 else f"{ms / 1000:.1f} s"  # noqa: PLR2004


def _price(price: dict[str, float] | None) -> str:
    return "unknown" if price is None else f"{price['input']:g}, {price['output']:g}"


def _usd(cost: float) -> str:
    return f"${cost:.5f}" if cost < 1 else f"${cost:.2f}"


def _cost_cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row['calls']:,}",
        f"{row['failed'] + row['lost']:,}",
        f"{row['prompt_tokens']:,}",
        f"{row['completion_tokens']:,}",
        _cost(row),
        output.usd(row["saved_usd"]) if row["saved_usd"] else "-",
    )


def _cost(row: Row) -> str:
    if row["cost_usd"] is None:
        return "unknown"
    unknown = row["unpriced"] + row["maybe_billed"]
    return output.usd(row["cost_usd"]) + (f" + {unknown:,} ?" if unknown else "")
