"""How far the cluster has been seen by whoever has read a stream up to some place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from kdm_core import ALL_NAMESPACES, SourceStatus, SyncStatus
from kdm_core.versions import older


class Mark(NamedTuple):
    """What is known to have been passed on.

    Attributes:
        place: The step that a stream has to have come to.
        resource_version: The version up to which it has seen everything then; "" for none.
        proven_at: Until when, in seconds on the event loop's clock.
        connected: Whether changes were being delivered.
    """

    place: int
    resource_version: str
    proven_at: float
    connected: bool

    def says_as_much(self, other: Mark | None) -> bool:
        """Return whether another mark is no news, but for its time."""
        return other is not None and (other.resource_version, other.connected) == (
            self.resource_version,
            self.connected,
        )


class Progress:
    """The newest mark of each source. Belongs to one event loop.

    What a repository says of its version covers changes that wait to be passed on. So it is asked, and what it said
    holds once whoever passes changes on has had a turn: an event loop gives turns in the order in which they were
    asked for, and in one turn everything that waits is passed on, unless ``midway`` says that it was not.

    Args:
        status: Returns how far the sources have been seen.
        place: Returns the newest step.
    """

    def __init__(self, status: Callable[[], SyncStatus], place: Callable[[], int]) -> None:
        self.midway: set[str] = set()
        self.listeners: set[Callable[[], None]] = set()
        self._status = status
        self._place = place
        self._marks: dict[str, Mark] = {}
        self._asked = False

    def look(self) -> None:
        """Ask how far the sources have been seen; who listens is called when that turns out to be news."""
        if not self._asked:
            self._asked = True
            loop = asyncio.get_running_loop()
            loop.call_soon(self._passed_on, self._status().sources, loop.time())

    def look_again(self) -> None:
        """Ask again where somebody listens, after something was passed on."""
        if self.listeners:
            self.look()

    def of(self, sources: list[str]) -> Mark | None:
        """Return what is known of some sources together; None where nothing is known of one of them."""
        marks = [self._marks.get(each) for each in sources]
        found = [each for each in marks if each is not None]
        if not found or len(found) < len(marks):
            return None
        oldest = found[0]
        for each in found[1:]:
            if older(each.resource_version, oldest.resource_version):
                oldest = each
        return Mark(
            max(each.place for each in found),
            oldest.resource_version,
            min(each.proven_at for each in found),
            all(each.connected for each in found),
        )

    def start_over(self) -> None:
        """Forget everything."""
        self._marks.clear()
        self.midway.clear()

    def _passed_on(self, said: tuple[SourceStatus, ...], at: float) -> None:
        self._asked = False
        news = False
        for each in said:
            if self.midway.isdisjoint({each.source, ALL_NAMESPACES}) and each.synced:
                mark = Mark(self._place(), each.resource_version, at - each.age_s, each.connected)
                before = self._marks.get(each.source)
                if mark.says_as_much(before):
                    assert before is not None  # noqa: S101 - as just seen
                    mark = mark._replace(place=before.place)
                else:
                    news = True
                self._marks[each.source] = mark
        if news:
            for listener in tuple(self.listeners):
                listener()
