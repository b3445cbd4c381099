"""The encoded lists that are kept: a poll that brings nothing new costs no encoding.

A list is remembered by what it shows, not by who asked last. One list of everything is kept for each URL. A
repository that returns the same tuple until something changes makes finding it a comparison of two addresses. What a
policy leaves to others is a new tuple each time, of the same Deployments: those lists are kept apart, so that no number
of such callers costs the others theirs.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

from kdm_core import Deployment

REMEMBERED_LISTS: Final = 16
"""How many lists of each kind are kept: two dialects, and the few namespaces, or parts, that anybody polls."""

Deployments = tuple[Deployment, ...]
Listed = tuple[bytes, bytes]
"""An encoded list and its entity tag."""


class RememberedLists:
    """Keeps the newest encodings. Belongs to one event loop; holds at most twice ``REMEMBERED_LISTS``."""

    def __init__(self) -> None:
        self._whole: _Lists = {}
        self._parts: _Lists = {}

    def whole(self, path: bytes, namespace: str | None, deployments: Deployments) -> Listed | None:
        """Return the encoding of everything that is there, if this is what was kept.

        Args:
            path: Whose dialect's list it is.
            namespace: What was asked for.
            deployments: The list.
        """
        known = self._whole.get((path, namespace))
        if known is None or (known[0] is not deployments and known[0] != deployments):
            return None
        return known[1]

    def part(self, path: bytes, deployments: Deployments) -> Listed | None:
        """Return the encoding of a part of what is there, if these very Deployments were kept."""
        known = self._parts.get(_part(path, deployments))
        return known[1] if known is not None else None

    def keep_whole(self, path: bytes, namespace: str | None, deployments: Deployments, listed: Listed) -> None:
        """Keep an encoding for ``whole``."""
        _keep(self._whole, (path, namespace), deployments, listed)

    def keep_part(self, path: bytes, deployments: Deployments, listed: Listed) -> None:
        """Keep an encoding for ``part``."""
        _keep(self._parts, _part(path, deployments), deployments, listed)


_Lists = dict[Hashable, tuple[Deployments, Listed]]


def _part(path: bytes, deployments: Deployments) -> Hashable:
    # What is kept holds its Deployments, so no other object can have one of their ids meanwhile.
    return path, tuple(map(id, deployments))


def _keep(lists: _Lists, key: Hashable, deployments: Deployments, listed: Listed) -> None:
    """Put a list in the place of the one with its key or, where there are too many, of the oldest."""
    if not deployments:
        return  # any number of namespaces do not exist
    lists.pop(key, None)
    if len(lists) >= REMEMBERED_LISTS:
        del lists[next(iter(lists))]
    lists[key] = deployments, listed
