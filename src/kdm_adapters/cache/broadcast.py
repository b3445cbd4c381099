"""Publishes changes to subscribers, each at its own pace and for a bounded amount of memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

from kdm_core.model import ChangeKind, Deployment, DeploymentChange

BUFFER: Final = 4096
"""How many changes a subscriber may fall behind before it has to start over."""

_SYNCED: Final = DeploymentChange(ChangeKind.SYNCED)
_LAGGED: Final = DeploymentChange(ChangeKind.LAGGED)


class _Subscriber:
    """One subscriber's place in the stream of changes."""

    def __init__(self, namespace: str | None, buffer: int) -> None:
        self.namespace = namespace
        self.pending: deque[DeploymentChange] = deque()
        self.lagged = False
        self.woken = asyncio.Event()
        self._buffer = buffer

    def offer(self, change: DeploymentChange) -> bool:
        """Take in a change. Returns whether the subscriber fell behind because of it."""
        self.woken.set()
        if self.lagged:
            return False
        if len(self.pending) >= self._buffer:
            self.restart()
            return True
        self.pending.append(change)
        return False

    def restart(self) -> None:
        """Give up what is pending: the present state takes its place."""
        self.lagged = True
        self.pending.clear()
        self.woken.set()


class Broadcaster:
    """The subscribers of one repository.

    Args:
        present: Returns the present Deployments of a namespace, or all for None.
        buffer: How many changes a subscriber may fall behind.
        on_lagged: Called when one falls further behind.
    """

    def __init__(
        self,
        present: Callable[[str | None], tuple[Deployment, ...]],
        *,
        buffer: int = BUFFER,
        on_lagged: Callable[[], None] = lambda: None,
    ) -> None:
        self._present = present
        self._buffer = buffer
        self._on_lagged = on_lagged
        self._subscribers: set[_Subscriber] = set()
        self._closed = False

    def publish(self, kind: ChangeKind, deployment: Deployment) -> None:
        """Publish a change that is already visible to every subscriber. Waits for none of them."""
        if not self._subscribers:
            return
        change = DeploymentChange(kind, deployment)
        for subscriber in self._subscribers:
            if subscriber.namespace in {None, deployment.ref.namespace} and subscriber.offer(change):
                self._on_lagged()

    def restart(self) -> None:
        """Have every subscriber start over once there is a state again: what it knows is no longer valid."""
        for subscriber in self._subscribers:
            subscriber.restart()

    def close(self) -> None:
        """End every subscription."""
        self._closed = True
        for subscriber in self._subscribers:
            subscriber.woken.set()

    async def follow(
        self, namespace: str | None, synced_or_closed: asyncio.Event
    ) -> AsyncGenerator[DeploymentChange, None]:
        """Yield the present state of a namespace (None: of all), then its changes, until closed.

        See :meth:`kdm_core.ports.DeploymentRepository.changes`.

        Args:
            namespace: Which.
            synced_or_closed: Set once there is a present state of it, or never will be.
        """
        while True:
            await synced_or_closed.wait()
            if self._closed:
                return
            subscriber = _Subscriber(namespace, self._buffer)
            self._subscribers.add(subscriber)
            try:
                # No await between these two: the state and the changes after it join without gap or overlap.
                for deployment in self._present(namespace):
                    if self._over(subscriber):
                        break
                    yield DeploymentChange(ChangeKind.PRESENT, deployment)
                if not self._over(subscriber):
                    yield _SYNCED
                while not self._over(subscriber):
                    if subscriber.pending:
                        yield subscriber.pending.popleft()
                    else:
                        subscriber.woken.clear()
                        await subscriber.woken.wait()
            finally:
                self._subscribers.discard(subscriber)
            if not self._closed:
                yield _LAGGED

    def _over(self, subscriber: _Subscriber) -> bool:
        return self._closed or subscriber.lagged
