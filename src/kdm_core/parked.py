"""What is remembered of a Deployment that was parked: scaled to zero, to come back later."""

from __future__ import annotations

from attrs import frozen


@frozen(weakref_slot=False)
class Parked:
    """The record of one parked Deployment.

    Attributes:
        uid: The object that was parked: one created again under its name is another.
        replicas: How many were desired before.
        at: When, in seconds since 1970.
        by: Who parked it.
        reason: Why, in their own words; "" where none was given.
        park_id: The batch: what was parked together comes back together.
    """

    uid: str
    replicas: int
    at: int
    by: str
    reason: str
    park_id: str
