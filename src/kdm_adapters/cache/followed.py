"""Who follows single Deployments, and who waits for a version: at no cost to what nobody follows or waits for."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable

from kdm_core.model import Deployment, DeploymentRef
from kdm_core.ports import OnSeen, tell


class Followed:
    """The followers of single Deployments, and of all. See :meth:`kdm_core.ports.DeploymentObserver.follow`.

    Args:
        observed: Returns what the cluster itself has said of a Deployment.
    """

    def __init__(self, observed: Callable[[DeploymentRef], Deployment | None]) -> None:
        self._calls: dict[DeploymentRef, dict[object, Callable[[], None]]] = {}
        self._of_all: dict[object, OnSeen] = {}
        self._observed = observed

    def add(self, ref: DeploymentRef, on_change: Callable[[], None]) -> Callable[[], None]:
        """Have a function called when a Deployment changes. Returns what ends it, and may be called twice."""
        ticket = object()
        self._calls.setdefault(ref, {})[ticket] = on_change

        def end() -> None:
            calls = self._calls.get(ref, {})
            calls.pop(ticket, None)
            if not calls:
                self._calls.pop(ref, None)

        return end

    def add_to_all(self, on_seen: OnSeen, present: Iterable[DeploymentRef]) -> Callable[[], None]:
        """Have a function called with each state of each Deployment. Returns what ends it, and may be called twice.

        Args:
            on_seen: The function.
            present: The Deployments that are there: it is called with them first.
        """
        ticket = object()
        for ref in present:
            tell(on_seen, ref, self._observed(ref))
        self._of_all[ticket] = on_seen

        def end() -> None:
            self._of_all.pop(ticket, None)

        return end

    def changed(self, ref: DeploymentRef) -> None:
        """Call the followers of a Deployment, and of all."""
        if self._calls and (calls := self._calls.get(ref)):
            for call in list(calls.values()):
                tell(call)
        if self._of_all:
            seen = self._observed(ref)
            for on_seen in list(self._of_all.values()):
                tell(on_seen, ref, seen)

    def all_changed(self) -> None:
        """Call everybody's of single Deployments."""
        for ref in list(self._calls):
            self.changed(ref)


class AwaitedVersions:
    """The versions of one source that somebody waits for. The lowest one comes first, so that most events cost nothing.

    See :meth:`kdm_core.ports.DeploymentObserver.wait_seen`.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []
        self._tickets = itertools.count()

    def reached(self, resource_version: str) -> None:
        """Let those go on who wait for this version, or an older one."""
        if self._waiting and resource_version.isdecimal():
            seen = int(resource_version)
            while self._waiting and self._waiting[0][0] <= seen:
                _release(heapq.heappop(self._waiting)[2])

    def release(self) -> None:
        """Let everybody go on: there is nothing to wait for any more."""
        while self._waiting:
            _release(self._waiting.pop()[2])

    async def wait(self, resource_version: str) -> None:
        """Wait until a version was reached, or everybody is released."""
        version = int(resource_version) if resource_version.isdecimal() else 0
        entry = (version, next(self._tickets), asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, entry)
        try:
            await entry[2]
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
                heapq.heapify(self._waiting)


def _release(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
