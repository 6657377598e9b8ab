"""The control plane: faults and counters under `/_sandbox/`."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp import web

from workers.providers.sandbox.counters import Counters
from workers.providers.sandbox.faults import Faults
from workers.providers.sandbox.presets import PRESETS

PREFIX = "/_sandbox/"


class Control:
    """Answers `GET/PUT/DELETE faults`, `GET/DELETE counters` and `GET presets`."""

    def __init__(self, *, faults: Faults, counters: Counters) -> None:
        self._faults = faults
        self._counters = counters

    async def handle(self, request: web.BaseRequest, *, path: str) -> web.Response:
        """Return the answer to a request of the control plane; `path` is without the query."""
        match request.method, path.removeprefix(PREFIX):
            case "GET", "counters":
                return _json(self._counters.shown())
            case "DELETE", "counters":
                self._counters.reset()
                return _json(self._counters.shown())
            case "GET", "faults":
                return _json(self._faults.shown())
            case "PUT", "faults":
                return self._replace(await request.read())
            case "DELETE", "faults":
                self._faults.clear()
                return _json([])
            case "GET", "presets":
                return _json({name: {"wire": shape.wire, "action": shape.action} for name, shape in PRESETS.items()})
        return _json({"error": f"expected one of faults, counters, presets under {PREFIX}, got {path}"}, status=404)

    def _replace(self, rules: bytes) -> web.Response:
        try:
            self._faults.replace(rules)
        except ValueError as error:
            return _json({"error": str(error)}, status=400)
        return _json(self._faults.shown())


def _json(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
