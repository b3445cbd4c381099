"""Who else changes a Deployment's count, and what they do to a count that somebody asks for."""

from __future__ import annotations

import enum

from attrs import frozen


class Effect(enum.StrEnum):
    """What an owner does to a count."""

    REVERTS = "reverts"
    """It puts another count in its place."""
    SUSPENDS = "suspends"
    """The count keeps it from doing its work."""
    MAY_CHANGE = "may-change"
    """It may ask for another count at any time."""
    RESETS_ON_APPLY = "resets-on-apply"
    """It asks for its own count again the next time somebody applies it."""


@frozen(weakref_slot=False)
class Owner:
    """Something that changes a Deployment's count by itself.

    Attributes:
        kind: What it is, such as ``HorizontalPodAutoscaler``.
        name: What it is called; in the Deployment's namespace, where its kind has namespaces.
        min: The smallest count it asks for; None where it has no bounds.
        max: The largest; None where it has no bounds.
    """

    kind: str
    name: str
    min: int | None = None
    max: int | None = None
