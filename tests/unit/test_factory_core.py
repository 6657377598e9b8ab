"""Objects made from configuration, and their end."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from infrastructure.optional.factory_core import Factory, Generations
from infrastructure.optional.factory_core import generations as generations_module
from tests.support.waiting import eventually

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Account:
    kind: str
    key: str


class Client:
    def __init__(self, name: str, account: Account) -> None:
        self.name = name
        self.account = account
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1
        if self.account.key == "breaks":
            raise OSError("no")


def factory() -> Factory[Account, Client]:
    made: Factory[Account, Client] = Factory(lambda account: account.kind)
    made.register("a", Client)
    made.register("b", lambda name, account: Client(name.upper(), account))
    return made


def generations() -> Generations[Account, Client]:
    return Generations(factory().create, close=Client.close)


def test_the_builder_of_its_kind_makes_an_object() -> None:
    assert factory().kinds == ("a", "b")
    assert factory().create("one", Account("b", "")).name == "ONE"
    with pytest.raises(LookupError, match="one: expected a kind, one of a, b, got 'c'"):
        factory().create("one", Account("c", ""))
    made = factory()
    with pytest.raises(ValueError, match="expected one builder of kind 'a', got a second"):
        made.register("a", Client)


async def test_objects_are_made_once_for_a_version() -> None:
    pool, accounts = generations(), {"one": Account("a", "k")}
    async with pool.using("v1", accounts) as first, pool.using("v1", accounts) as second:
        assert first["one"] is second["one"]
    async with pool.using("v1", accounts) as third:
        assert third["one"] is first["one"]
        assert not third["one"].closed
    await pool.close()
    assert first["one"].closed == 1


async def test_what_did_not_change_goes_over_and_the_rest_is_closed() -> None:
    pool = generations()
    async with pool.using(
        "v1", {"same": Account("a", "1"), "new": Account("a", "1"), "gone": Account("a", "1")}
    ) as old:
        pass
    async with pool.using("v2", {"same": Account("a", "1"), "new": Account("a", "2")}) as new:
        assert new["same"] is old["same"]
        assert new["new"] is not old["new"]
        assert [client.closed for client in old.values()] == [0, 1, 1]
        assert pool.get_metrics() == {"generations": 1, "objects": 2}
    await pool.close()


async def test_a_retired_object_is_closed_when_its_last_user_leaves() -> None:
    pool = generations()
    async with AsyncExitStack() as users:
        old = await users.enter_async_context(pool.using("v1", {"one": Account("a", "1")}))
        async with pool.using("v2", {"one": Account("a", "2")}) as new:
            assert [old["one"].closed, new["one"].closed] == [0, 0]
        assert pool.get_metrics() == {"generations": 2, "objects": 2}
    assert [old["one"].closed, new["one"].closed] == [1, 0]
    await pool.close()


async def test_versions_that_take_turns_close_nothing_in_use() -> None:
    pool = generations()
    accounts = {"v1": {"one": Account("a", "1")}, "v2": {"one": Account("a", "2")}}
    async with AsyncExitStack() as users:
        held = [await users.enter_async_context(pool.using(v, accounts[v])) for v in ("v1", "v2", "v1", "v2", "v1")]
        assert [one["one"].closed for one in held] == [0] * 5
        assert held[0]["one"] is held[4]["one"]
    await pool.close()
    assert [one["one"].closed for one in held] == [1] * 5


async def test_an_object_that_fails_to_close_keeps_no_other_open() -> None:
    pool = generations()
    async with pool.using("v1", {"one": Account("a", "breaks"), "two": Account("a", "")}) as made:
        pass
    await pool.close()
    assert [client.closed for client in made.values()] == [1, 1]


async def test_a_configuration_of_which_one_cannot_be_made_changes_nothing() -> None:
    pool = generations()
    async with pool.using("v1", {"one": Account("a", "1")}) as made:
        with pytest.raises(LookupError):
            async with pool.using("v2", {"one": Account("nobody's", "1")}):
                pass
    assert not made["one"].closed
    assert pool.get_metrics() == {"generations": 1, "objects": 1}
    await pool.close()


async def test_what_was_made_before_one_could_not_be_is_closed() -> None:
    made: list[Client] = []

    def create(name: str, account: Account) -> Client:
        made.append(factory().create(name, account))
        return made[-1]

    pool = Generations(create, close=Client.close)
    async with pool.using("v1", {"same": Account("a", "1")}):
        with pytest.raises(LookupError):
            async with pool.using(
                "v2", {"same": Account("a", "1"), "one": Account("a", "2"), "two": Account("nobody's", "")}
            ):
                pass
        await eventually(lambda: [client.closed for client in made] == [0, 1])
    await pool.close()


async def test_a_user_that_is_cancelled_while_the_old_ones_close_leaves_nothing_open() -> None:
    closing, may_close, closed = asyncio.Event(), asyncio.Event(), list[str]()

    async def close(client: Client) -> None:
        closing.set()
        await may_close.wait()
        closed.append(f"{client.name}{client.account.key}")

    async def use(version: str) -> None:
        async with pool.using(version, {name: Account("a", version) for name in ("one", "two")}):
            pass

    pool = Generations(factory().create, close=close)
    await use("1")
    user = asyncio.create_task(use("2"))
    await closing.wait()
    user.cancel()
    with pytest.raises(asyncio.CancelledError):
        await user
    may_close.set()
    await eventually(lambda: sorted(closed) == ["one1", "two1"])
    await use("3")
    assert pool.get_metrics() == {"generations": 1, "objects": 2}
    await pool.close()
    assert sorted(closed) == ["one1", "one2", "one3", "two1", "two2", "two3"]


async def test_nobody_waits_long_for_an_object_that_hangs_as_it_closes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generations_module, "CLOSE_S", 0.05)
    monkeypatch.setattr(generations_module, "WAIT_S", 0.01)
    pool = Generations(factory().create, close=lambda _: asyncio.sleep(60))
    async with asyncio.timeout(5):
        for version in ("v1", "v2", "v3"):
            async with pool.using(version, {"one": Account("a", version)}):
                pass
        await pool.close()
