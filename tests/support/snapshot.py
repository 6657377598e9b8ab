"""All keys of a server read in four round trips, to be looked at as a client is asked."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

READ = {"hash": ("HGETALL",), "zset": ("ZRANGE", 0, -1, "WITHSCORES"), "string": ("GET",), "set": ("SMEMBERS",)}


class Snapshot:
    """Answers the reading commands that the audit asks, from what was there at one moment."""

    def __init__(self, client: Any) -> None:
        names = sorted(set(client.scan_iter("*", count=10_000)))
        types = self._ask(client, [("TYPE", name) for name in names])
        kinds = [kind.decode() if isinstance(kind, bytes) else kind for kind in types]
        known = [(name, kind) for name, kind in zip(names, kinds, strict=True) if kind in READ]
        values = self._ask(client, [(READ[kind][0], name, *READ[kind][1:]) for name, kind in known])
        lives = self._ask(client, [("PTTL", name) for name in names])
        self.values = {name.decode(): value for (name, _), value in zip(known, values, strict=True)}
        self._lives = {name.decode(): life for name, life in zip(names, lives, strict=True)}
        self.register_script = (
            client.register_script
        )  # scripts are asked of the server: nothing else writes to it meanwhile

    @staticmethod
    def _ask(client: Any, commands: list[tuple[Any, ...]]) -> list[Any]:
        pipe = client.pipeline(transaction=False)
        for command in commands:
            pipe.execute_command(*command)
        return list(pipe.execute())

    def scan_iter(self, pattern: str, count: int = 0) -> Iterator[bytes]:  # noqa: ARG002  as the client's
        return (name.encode() for name in self._lives if fnmatch(name, pattern))

    def pttl(self, name: str) -> int:
        return int(self._lives.get(name, -2))

    def get(self, name: str) -> bytes | None:
        value: bytes | None = self.values.get(name)
        return value

    def hgetall(self, name: str | bytes) -> dict[bytes, bytes]:
        return dict(self.values.get(_text(name), {}))

    def hvals(self, name: str | bytes) -> list[bytes]:
        return list(self.hgetall(name).values())

    def zrange(self, name: str | bytes, start: int, end: int) -> list[bytes]:
        assert (start, end) == (0, -1)
        return [member for member, _ in self.values.get(_text(name), [])]

    def zscore(self, name: str, member: str) -> float | None:
        return next((score for one, score in self.values.get(name, []) if one == member.encode()), None)


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name
