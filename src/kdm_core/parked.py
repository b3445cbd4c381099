"""What is remembered of a parked Deployment."""

from __future__ import annotations

from attrs import frozen


@frozen(weakref_slot=False)
class Parked:
    """The record of a parked Deployment: the count that it had, and who set it to zero.

    Attributes:
        uid: The object that was parked: one deleted and created again has another.
        replicas: The count that it had.
        at: When it was parked, in seconds since 1970-01-01 UTC.
        by: Who parked it.
        reason: Why, in their words; "" where they gave none.
        park_id: The batch that it was parked with.
        woken: The count that it was woken to while the record was kept; None where it was not woken.
        version: The version of the Deployment that the park was based on: it went to zero from there or not at all.
        token: Tells the records of two calls apart that are the same in everything else.
    """

    uid: str
    replicas: int
    at: int
    by: str = ""
    reason: str = ""
    park_id: str = ""
    woken: int | None = None
    version: str = ""
    token: str = ""
