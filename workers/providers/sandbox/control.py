"""The control plane: faults and counters under `/_sandbox/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from workers.providers.sandbox.counters import Counters
from workers.providers.sandbox.faults import Faults
from workers.providers.sandbox.presets import PRESETS

PREFIX = "/_sandbox/"


class Control:
    """Answers `GET/PUT/DELETE faults`, `GET/DELETE counters`, `GET presets` and `GET last`."""

    def __init__(self, *, faults: Faults, counters: Counters, last: Callable[[], Mapping[str, Any]]) -> None:
        self._faults = faults
        self._counters = counters
        self._show = {"counters": counters.shown, "faults": faults.shown, "presets": _presets, "last": last}
        self._clear = {"counters": counters.reset, "faults": faults.clear}

    async def handle(self, request: web.BaseRequest, *, path: str) -> web.Response:
        """Return the answer to a request of the control plane; `path` is without the query."""
        name = path.removeprefix(PREFIX)
        if name not in self._show:
            return _json({"error": f"expected one of {', '.join(self._show)} under {PREFIX}, got {path}"}, status=404)
        if request.method == "PUT" and name == "faults":
            return self._replace(await request.read())
        if request.method == "DELETE" and name in self._clear:
            self._clear[name]()
        elif request.method != "GET":
            return _json({"error": f"expected GET, or a change that {name} knows, got {request.method}"}, status=405)
        return _json(self._show[name]())

    def _replace(self, rules: bytes) -> web.Response:
        try:
            self._faults.replace(rules)
        except ValueError as error:
            return _json({"error": str(error)}, status=400)
        return _json(self._faults.shown())


def _presets() -> dict[str, Any]:
    return {name: {"wire": shape.wire, "action": shape.action} for name, shape in PRESETS.items()}


def _json(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
