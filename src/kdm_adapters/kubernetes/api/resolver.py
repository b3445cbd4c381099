"""Name resolution on threads that nobody waits for: a silent name server does not delay the end of the process."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import suppress
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

_Found = list[tuple[Any, ...]]
"""What getaddrinfo(3) returns: family, kind, protocol, canonical name and address of each."""

_NUMERIC: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Resolver(AbstractResolver):
    """Asks the system for addresses, with one lookup at a time for each name. Belongs to one event loop.

    In place of the loop's own ``getaddrinfo``: uvloop's threads are joined when the process ends, asyncio's when the
    loop is closed, and a resolver may try for minutes (resolv.conf(5): attempts times timeout, for each server).
    """

    def __init__(self) -> None:
        self._under_way: dict[tuple[str, int, int], asyncio.Future[_Found | Exception]] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return a host's addresses, in the system's order.

        Raises:
            OSError: There are none, or the lookup failed.
        """
        results: list[ResolveResult] = []
        for kind, _, protocol, _, address in await self.look_up(host, port, family):
            numeric = address[0]
            if len(address) == 4 and address[3]:  # a link-local address is worth nothing without its scope
                numeric, _ = socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)
            results.append(
                ResolveResult(hostname=host, host=numeric, port=port, family=kind, proto=protocol, flags=_NUMERIC)
            )
        return results

    async def look_up(self, host: str, port: int, family: int = socket.AF_UNSPEC) -> _Found:
        """Return the addresses of a host. Being cancelled does not end the lookup; the next call waits for it.

        Raises:
            OSError: There are none.
        """
        key = (host, port, family)
        asked = self._under_way.get(key)
        if asked is None:
            asked = self._under_way[key] = _ask(host, port, family)
            asked.add_done_callback(lambda _: self._under_way.pop(key, None))
        outcome = await asyncio.shield(asked)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def close(self) -> None:
        """Do nothing: nobody waits for a lookup that is under way."""


def _ask(host: str, port: int, family: int) -> asyncio.Future[_Found | Exception]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_Found | Exception] = loop.create_future()

    def ask() -> None:
        outcome: _Found | Exception
        try:
            outcome = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except Exception as error:  # noqa: BLE001 - raised where it is awaited
            outcome = error
        with suppress(RuntimeError):  # the event loop is closed
            loop.call_soon_threadsafe(answer.set_result, outcome)

    threading.Thread(target=ask, name="kdm-resolver", daemon=True).start()
    return answer
