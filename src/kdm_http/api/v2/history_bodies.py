"""What API v2 shows of history."""

from __future__ import annotations

from typing import Self

import msgspec

from kdm_core.attribution import moment
from kdm_core.history import ChangePage, CountChange
from kdm_http.api.v2.body import Body, Count


class ChangeBody(Body, frozen=True):
    """One change of a desired count."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    """The version with the new count; a later one where that was not seen."""
    at: str
    previous: Count | None
    """The count before; null where it is not known."""
    desired: Count
    manager: str
    """The field manager that changed it; empty where it is not known."""
    actor: str
    """Who had this kdm change it; empty where it was not changed through it."""
    reason: str
    request_id: str
    batch: str | None
    gap: bool
    """Whether changes just before this one may be missing."""

    @classmethod
    def of(cls, change: CountChange) -> Self:
        """Show a change."""
        return cls(
            namespace=change.ref.namespace,
            name=change.ref.name,
            uid=change.uid,
            resource_version=change.resource_version,
            at=moment(change.at),
            previous=change.previous,
            desired=change.desired,
            manager=change.manager,
            actor=change.actor,
            reason=change.reason,
            request_id=change.request_id,
            batch=change.batch or None,
            gap=change.gap,
        )


class HistoryBody(Body, frozen=True):
    """Changes of desired counts, the newest first, as far as this kdm has seen and kept them."""

    since: str | None
    """When this kdm began to see changes; null where it has not yet."""
    complete: bool
    """Whether these are all changes there ever were. They never are: others are older, or were evicted."""
    continue_: str | None = msgspec.field(name="continue")
    """The token of the next page; null on the last one."""
    items: list[ChangeBody]

    @classmethod
    def of(cls, page: ChangePage, token: str | None = None) -> Self:
        """Show a page of changes."""
        return cls(
            since=None if page.since is None else moment(page.since),
            complete=False,
            continue_=token,
            items=[ChangeBody.of(each) for each in page.changes],
        )
