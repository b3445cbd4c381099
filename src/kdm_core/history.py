"""The newest changes of desired counts: what is remembered of each, how many are, and how to ask for them."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator
from typing import Final

from attrs import evolve, frozen

from kdm_core.errors import InvalidQuery
from kdm_core.model import ALL_NAMESPACES, DeploymentRef
from kdm_core.selectors import EVERYTHING, LabelSelector

KEPT_OF_EACH: Final = 20
"""How many changes of one Deployment are kept."""

DEFAULT_HISTORY_ENTRIES: Final = 50_000
"""How many changes are kept of all Deployments together: some 15 MB (docs/history.md has the measurement)."""


@frozen(weakref_slot=False)
class CountChange:
    """One change of the number of replicas that a Deployment should have.

    Attributes:
        ref: Of which Deployment.
        uid: Of which object: one that was deleted and created again has another.
        at: When, in seconds since 1970 (UTC), by the cluster's clock where it says so, else by kdm's.
        previous: The count before; None where it is not known.
        desired: The count after.
        manager: What changed it, as the cluster names it (a field manager); "" where that is not known.
        actor: Who had kdm change it; "" where it was not changed through this kdm.
        reason: Why, in the actor's own words.
        request_id: Ties it to the audit trail and the log; "" where it was not changed through this kdm.
        batch: Of which batch it was a part; "" of none.
        resource_version: The version of the Deployment with the new count, or a later one where that was not seen.
        gap: Whether changes just before this one may be missing: kdm has not seen each of them.
        number: Counts the changes that this process has recorded; 0 while the cluster has not delivered it yet.
    """

    ref: DeploymentRef
    uid: str
    at: int
    previous: int | None
    desired: int
    manager: str = ""
    actor: str = ""
    reason: str = ""
    request_id: str = ""
    batch: str = ""
    resource_version: str = ""
    gap: bool = False
    number: int = 0


@frozen
class HistoryQuery:
    """Which changes to list.

    Attributes:
        namespace: Of one namespace; "*" for every watched one.
        selector: Of Deployments with which labels; of a deleted one, its last ones.
        since: Only those from this time on, in seconds since 1970.
        limit: At most how many; None for all.
        before: Only those with a smaller number: the ``next`` of the page before.

    Raises:
        InvalidQuery: ``limit`` is not positive.
    """

    namespace: str = ALL_NAMESPACES
    selector: LabelSelector = EVERYTHING
    since: int | None = None
    limit: int | None = None
    before: int | None = None

    def __attrs_post_init__(self) -> None:
        if self.limit is not None and (type(self.limit) is not int or self.limit < 1):
            raise InvalidQuery(f"limit: must be a positive integer, not {self.limit!r:.40}")


@frozen
class ChangePage:
    """Changes that a query found, the newest first. They are not all there were: see ``since``.

    Attributes:
        changes: The changes.
        since: From when on changes were seen, in seconds since 1970; None where nothing has been seen yet.
        next: Where the next page begins; None where this is the last one.
    """

    changes: tuple[CountChange, ...]
    since: int | None
    next: int | None = None


class Ring:
    """The newest changes of one Deployment, the oldest first. Only a :class:`ChangeLog` changes it.

    Attributes:
        changes: The changes.
        passed: How many of its places in the log's order belong to changes that it has dropped.
    """

    __slots__ = ("changes", "passed")

    def __init__(self) -> None:
        self.changes: list[CountChange] = []
        self.passed = 0


class ChangeLog:
    """The newest changes of all Deployments, within a bounded number: the oldest of all goes first.

    Args:
        limit: How many are kept of all together.
        of_each: How many are kept of one Deployment.
    """

    def __init__(self, limit: int = DEFAULT_HISTORY_ENTRIES, of_each: int = KEPT_OF_EACH) -> None:
        self.limit = limit
        self.of_each = of_each
        # Whose change came when. A ring that drops its oldest leaves its place here, and counts it as passed.
        self._order: deque[Ring] = deque()
        self._kept = 0
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return self._kept

    def append(self, ring: Ring, change: CountChange) -> list[Ring]:
        """Record a change.

        Args:
            ring: Of its Deployment.
            change: The change; its number is given here.

        Returns:
            The rings that are empty now, because theirs were the oldest of all.
        """
        ring.changes.append(evolve(change, number=next(self._numbers)))
        self._order.append(ring)
        self._kept += 1
        if len(ring.changes) > self.of_each:
            self._drop(ring)
            ring.passed += 1
        emptied = []
        while self._kept > self.limit:
            oldest = self._order.popleft()
            if oldest.passed:
                oldest.passed -= 1
            else:
                self._drop(oldest)
                if not oldest.changes:
                    emptied.append(oldest)
        if len(self._order) > 2 * self._kept + 1024:  # a few busy ones leave many places
            self._close_up()
        return emptied

    def newest(self, before: int | None = None) -> Iterator[tuple[Ring, CountChange]]:
        """Yield all changes, the newest first. To be used at once: nothing may be recorded meanwhile.

        Args:
            before: Only those with a smaller number; None for all.
        """
        seen: dict[Ring, int] = {}
        for ring in reversed(self._order):
            place = seen[ring] = seen.get(ring, 0) + 1
            if place <= len(ring.changes):
                change = ring.changes[-place]
                if before is None or change.number < before:
                    yield ring, change

    def _drop(self, ring: Ring) -> None:
        del ring.changes[0]
        self._kept -= 1

    def _close_up(self) -> None:
        rings = [ring for ring, _ in self.newest()]
        self._order = deque(reversed(rings))
        for ring in rings:
            ring.passed = 0
