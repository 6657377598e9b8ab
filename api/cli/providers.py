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
COST_HEADINGS = ("model", "calls", "failed", "tokens in", "out", "cost", "saved")
PIPED = ("provider", "model", "health", "breaker", "score", "in flight", "success", "latency", "price", "last error", "next try")  # fmt: skip
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
        output.table(PIPED, [row for one in page["data"] for row in _piped(one)])


def show_costs(*, url: str | None, days: int, as_json: bool) -> None:
    """Write what calls cost by model, with totals."""
    with Client.from_options(url) as client:
        table = client.costs(days=days, by="model")
    if as_json:
        output.dump(table)
        return
    rows = [(row["model"], *_cost_cells(row)) for row in sorted(table["data"], key=_by_cost)]
    rows.append(("total", *_cost_cells(table["totals"])))
    if (table.get("probes") or {}).get("calls"):
        rows.append(("health probes", *_cost_cells(table["probes"])))
    if not output.stdout().is_terminal:
        output.table(COST_HEADINGS, rows)
        return
    console, widths = output.stdout(), _widths(COST_HEADINGS, rows, within=output.stdout().width)
    console.print(Text(_line(COST_HEADINGS, widths), style="bold"), soft_wrap=True)
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
    cells = {id(model): _cells(model) for one in used for model in one["models"]}
    widths = _widths(HEADINGS, list(cells.values()), within=console.width - len(INDENT))
    console.print(Text(INDENT + _line(HEADINGS, widths), style="bold"), soft_wrap=True)
    for one in used:
        console.print(_title(one), soft_wrap=True)
        for model in one["models"]:
            _draw_model(model, _line(cells[id(model)], widths))
    for one in providers:
        if not one["in_use"]:
            console.print(Text(f"{one['name']}  {one['unused_because']}", style="dim"), soft_wrap=True)
    if not used:
        output.note("No provider is in use.")


def _draw_model(model: Row, line: str) -> None:
    console, error = output.stdout(), _last_error(model)
    wide = len(INDENT + line + GAP + error) <= console.width
    style = "" if model["breaker"] == "closed" == model["account"] else "red"
    text = Text(INDENT).append(line, style=style)
    if error and wide:
        text.append(f"  {error}", style="dim")
    console.print(text, soft_wrap=True)
    if error and not wide:
        console.print(Text(f"    last error {error}", style="dim"), soft_wrap=True)


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


def _cells(model: Row) -> tuple[str, ...]:
    state = model["breaker"] if model["breaker"] != "closed" else model["account"]
    breaker = _breaker(state, model["next_probe_s"])
    if state == "closed" and model["throttled_s"]:
        breaker = f"429, {_span(model['throttled_s'])}"
    return (
        model["model"],
        _usd(model["score"]),
        breaker,
        str(model["in_flight"]),
        _share(model["success"]),
        _latency(model["latency_ms"]),
        _price(model["price"]),
    )


def _piped(one: Row) -> list[tuple[str, ...]]:
    if not one["in_use"] or not one["models"]:
        state = one["unused_because"] or one["health"]["status"]
        return [(one["name"], "-", state, *["-"] * (len(PIPED) - 3))]
    return [_piped_model(one, model) for model in one["models"]]


def _piped_model(one: Row, model: Row) -> tuple[str, ...]:
    _, score, _, in_flight, success, latency, price = _cells(model)
    state = model["breaker"] if model["breaker"] != "closed" else model["account"]
    due = "-" if model["next_probe_s"] is None else _span(model["next_probe_s"])
    named = (one["name"], model["model"], one["health"]["status"], state)
    return (*named, score, in_flight, success, latency, price, _last_error(model) or "-", due)


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


def _by_cost(row: Row) -> tuple[float, str]:
    return -(row["cost_usd"] or 0.0), row["model"]
