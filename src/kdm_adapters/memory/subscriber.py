"""One follower of the in-memory repository's changes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from kdm_core.model import ALL_NAMESPACES, ChangeKind, Deployment, DeploymentChange

SUBSCRIBER_BUFFER: Final = 1024
"""Changes a subscriber may be behind before it has lagged."""

_COUNTED: Final = frozenset({ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED})


class Subscriber:
    """One follower of ``changes``, with a queue of bounded length."""

    def __init__(self, buffer: int, namespace: str, present: Callable[[str], tuple[Deployment, ...]]) -> None:
        self._buffer = buffer
        self._namespace = namespace
        self._present = present
        self._queue: deque[DeploymentChange] = deque()
        self._behind = 0
        self._news = asyncio.Event()
        self._ended = False
        self._begin()

    def _begin(self) -> None:
        self._behind = 0
        self._queue.extend(DeploymentChange(ChangeKind.PRESENT, d) for d in self._present(self._namespace))
        self._queue.append(DeploymentChange(ChangeKind.SYNCED))
        self._news.set()

    def offer(self, change: DeploymentChange) -> bool:
        """Queue a change; where there is no room, start over.

        Returns:
            Whether the subscriber lagged.
        """
        if change.deployment is not None and self._namespace not in {ALL_NAMESPACES, change.deployment.ref.namespace}:
            return False
        self._behind += 1
        if self._behind > self._buffer:
            self._queue.clear()
            self._queue.append(DeploymentChange(ChangeKind.LAGGED))
            self._begin()
            return True
        self._queue.append(change)
        self._news.set()
        return False

    async def next(self) -> DeploymentChange | None:
        """Return the next change; None when there will be no more."""
        while not self._queue:
            if self._ended:
                return None
            self._news.clear()
            await self._news.wait()
        change = self._queue.popleft()
        if change.kind in _COUNTED:
            self._behind -= 1
        return change

    def end(self) -> None:
        """Offer nothing more."""
        self._ended = True
        self._queue.clear()
        self._news.set()
