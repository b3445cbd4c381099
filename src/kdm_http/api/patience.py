"""How long a request may take, and what ends its waiting early."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

from litestar.types import Receive

from kdm_http.tls.peer import Peer

T = TypeVar("T")

Interruption = Literal["kdm is stopping", "the client is gone"]
"""Why a wait ended before its time, for a person."""


class Patience:
    """The time that one request has. Belongs to the task that answers it.

    Args:
        receive: The request's ASGI channel, once its body is read.
        stopping: Set when the server begins to stop; None where there is no server.
        deadline: The running deadline; None for none.
        peer: Who asks.
    """

    def __init__(
        self, receive: Receive, stopping: asyncio.Event | None, deadline: asyncio.Timeout | None, peer: Peer
    ) -> None:
        self._peer = peer
        self._receive = receive
        self._stopping = stopping
        self._deadline = deadline

    @property
    def valid_s(self) -> float:
        """How long the client's certificate is still valid, in seconds."""
        return (self._peer.not_after - datetime.now(UTC)).total_seconds()

    def extend(self, seconds: float) -> None:
        """Let the request take so much longer than it could without waiting, in seconds."""
        if self._deadline is not None and (when := self._deadline.when()) is not None:
            self._deadline.reschedule(when + seconds)

    async def wait_for(self, work: Coroutine[Any, Any, T]) -> T | Interruption:
        """Wait for something, but no longer than the server runs and the client is there.

        Args:
            work: What is waited for. It is cancelled when the wait is interrupted.

        Returns:
            Its result, or why there is none.
        """
        working = asyncio.ensure_future(work)
        everything: set[asyncio.Future[Any]] = {working, *self._ends(leaving=True)}
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            return working.result() if working.done() else self._why()
        finally:
            for each in everything:
                each.cancel()
            await asyncio.wait(everything)

    async def interruption(self, *, leaving: bool = True) -> Interruption:
        """Wait until the server begins to stop, or the client is gone, and return which.

        Args:
            leaving: Whether it matters that the client is gone.
        """
        ends = self._ends(leaving=leaving) or {asyncio.get_running_loop().create_future()}
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            return self._why()
        finally:
            for each in ends:
                each.cancel()

    def _ends(self, *, leaving: bool) -> set[asyncio.Future[Any]]:
        """Return what ends a wait when it is done."""
        ends: set[asyncio.Future[Any]] = set()
        if leaving:
            ends.add(asyncio.ensure_future(self._gone()))
        if self._stopping is not None:
            ends.add(asyncio.ensure_future(self._stopping.wait()))
        return ends

    def _why(self) -> Interruption:
        return "kdm is stopping" if self._stopping is not None and self._stopping.is_set() else "the client is gone"

    async def _gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
