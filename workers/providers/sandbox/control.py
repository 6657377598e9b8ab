"""The control plane: faults, instances and counters under `/_sandbox/`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from aiohttp import web

from workers.providers.sandbox.complaints import told
from workers.providers.sandbox.counters import Counters
from workers.providers.sandbox.faults import Faults
from workers.providers.sandbox.instances import Instances
from workers.providers.sandbox.ports import Ports
from workers.providers.sandbox.presets import PRESETS

PREFIX = "/_sandbox/"


class Control:
    """Answers `GET/PUT/DELETE faults` and `instances`, `GET/DELETE counters`, `GET timeline`, `presets` and `last`."""

    def __init__(
        self,
        *,
        faults: Faults,
        counters: Counters,
        instances: Instances,
        ports: Ports,
        last: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._faults = faults
        self._instances = instances
        self._ports = ports
        self._show: dict[str, Callable[[], Any]] = {
            "counters": counters.shown, "faults": faults.shown, "presets": _presets, "last": last,
            "timeline": counters.over_time, "instances": self._shown_instances,
        }  # fmt: skip
        self._put = {"faults": self._put_faults, "instances": self._put_instances}
        self._clear: dict[str, Callable[[], None]] = {"counters": counters.reset, "faults": faults.clear}

    async def handle(self, request: web.BaseRequest, *, path: str) -> web.Response:
        """Return the answer to a request of the control plane; `path` is without the query."""
        name = path.removeprefix(PREFIX)
        if name not in self._show:
            return _json({"error": f"expected one of {', '.join(self._show)} under {PREFIX}, got {path}"}, status=404)
        if request.method == "PUT" and name in self._put:
            try:
                await self._put[name](await request.read())
            except ValueError as error:
                return _json({"error": told(error, await request.read())}, status=400)
        elif request.method == "DELETE" and name == "instances":
            self._instances.clear()
            await self._ports.close()
        elif request.method == "DELETE" and name in self._clear:
            self._clear[name]()
        elif request.method != "GET":
            return _json({"error": f"expected GET, or a change that {name} knows, got {request.method}"}, status=405)
        return _json(self._show[name]())

    async def _put_faults(self, rules: bytes) -> None:
        self._faults.replace(rules)

    async def _put_instances(self, described: bytes) -> None:
        profiles = self._instances.read(described)
        self._instances.set(profiles)
        for name, profile in profiles.items():
            await self._ports.apply(name, profile.port)

    def _shown_instances(self) -> dict[str, Any]:
        urls = self._ports.shown()
        return {
            name: {**profile, "url": urls[name]} if name in urls else profile
            for name, profile in self._instances.shown().items()
        }


def _presets() -> dict[str, Any]:
    return {name: {"wire": shape.wire, "action": shape.action} for name, shape in PRESETS.items()}


def _json(body: Any, *, status: int = 200) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")
