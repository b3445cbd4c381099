"""Names become addresses on threads that nobody waits for, once at a time for each name."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kdm_adapters.kubernetes.api.resolver import Resolver

System = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


class Held:
    """The system's resolver, which answers when a test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._real: System = socket.getaddrinfo
        self.asked = threading.Semaphore(0)
        self.times = 0
        self.go = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self._ask)

    def _ask(self, *arguments: Any, **options: Any) -> list[tuple[Any, ...]]:
        self.times += 1
        self.asked.release()
        assert self.go.wait(30)
        return self._real(*arguments, **options)


async def test_an_address_stands_for_itself() -> None:
    (found,) = await Resolver().resolve("127.0.0.1", 6443)
    assert (found["host"], found["port"], found["family"]) == ("127.0.0.1", 6443, socket.AF_INET)
    assert found["flags"] & socket.AI_NUMERICHOST


async def test_a_name_that_nobody_knows_is_an_error_of_the_system_s() -> None:
    with pytest.raises(OSError, match=r"."):
        await Resolver().resolve("kdm.invalid", 6443)


async def test_what_no_name_can_be_is_an_error_and_the_resolver_goes_on() -> None:
    resolver = Resolver()
    with pytest.raises((OSError, UnicodeError)):
        await resolver.resolve("x" * 64 + ".test", 6443)
    assert await resolver.resolve("127.0.0.1", 6443)


async def test_those_who_ask_for_one_name_at_a_time_ask_the_system_once(held: Held) -> None:
    resolver = Resolver()
    asking = [asyncio.ensure_future(resolver.resolve("127.0.0.1", 6443)) for _ in range(20)]
    await asyncio.to_thread(held.asked.acquire)
    held.go.set()
    assert len({found[0]["host"] for found in await asyncio.gather(*asking)}) == 1
    assert held.times == 1
    await resolver.resolve("127.0.0.1", 6443)
    assert held.times == 2, "what was found is not kept: a cluster's address may change"


async def test_who_is_cancelled_ends_the_lookup_for_nobody_else(held: Held) -> None:
    resolver = Resolver()
    first, second = (asyncio.ensure_future(resolver.resolve("127.0.0.1", 6443)) for _ in range(2))
    await asyncio.to_thread(held.asked.acquire)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    held.go.set()
    assert (await second)[0]["host"] == "127.0.0.1"
    assert held.times == 1


async def test_a_lookup_that_hangs_holds_up_neither_the_loop_nor_other_names(held: Held) -> None:
    resolver = Resolver()
    hanging = asyncio.ensure_future(resolver.resolve("127.0.0.1", 6443))
    other = asyncio.ensure_future(resolver.resolve("127.0.0.2", 6443))
    for _ in range(2):
        await asyncio.to_thread(held.asked.acquire)
    assert held.times == 2
    assert not hanging.done()
    assert not other.done()
    await resolver.close()
    held.go.set()
    assert [(await each)[0]["host"] for each in (hanging, other)] == ["127.0.0.1", "127.0.0.2"]


def test_a_lookup_that_outlives_its_loop_harms_nobody(held: Held) -> None:
    async def ask_and_leave() -> None:
        asking = asyncio.ensure_future(Resolver().resolve("127.0.0.1", 6443))
        await asyncio.to_thread(held.asked.acquire)
        asking.cancel()

    before = set(threading.enumerate())
    asyncio.run(ask_and_leave())
    hanging = [each for each in threading.enumerate() if each not in before]
    held.go.set()
    for each in hanging:
        each.join(30)
    assert hanging
    assert not any(each.is_alive() for each in hanging)


async def test_a_link_local_address_keeps_its_scope(monkeypatch: pytest.MonkeyPatch) -> None:
    index, name = socket.if_nameindex()[0]
    found = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 6443, 0, index))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [found])
    (told,) = await Resolver().resolve("node.local", 6443)
    assert told["host"] == f"fe80::1%{name}"
