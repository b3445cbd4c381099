"""The encoded lists that are kept: a poll that brings nothing new costs no encoding.

A list is remembered by what it shows, not by who asked last. One list of everything is kept for each URL. A
repository that returns the same tuple until something changes makes finding it a comparison of two addresses. What a
policy leaves to others is a new tuple each time, of the same Deployments: those lists are kept apart, so that no number
of such callers costs the others theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Final

from kdm_core import Deployment
from kdm_http.api.etags import tag_of
from kdm_http.api.route import Listing, Route

REMEMBERED_LISTS: Final = 16
"""How many lists of each kind are kept: two dialects, and the few namespaces, or parts, that anybody polls."""

Deployments = tuple[Deployment, ...]
Listed = tuple[bytes, bytes]
"""An encoded list and its entity tag."""


class RememberedLists:
    """Keeps the newest encodings. Belongs to one event loop; holds at most twice ``REMEMBERED_LISTS``.

    Args:
        encode: Encodes a list.
    """

    def __init__(self, encode: Callable[[object], bytes]) -> None:
        self._encode = encode
        self._whole: _Lists = {}
        self._parts: _Lists = {}

    def encoded(self, route: Route, listing: Listing) -> Listed:
        """Return a list's encoding and entity tag, from memory where it was the same the last time."""
        deployments = listing.deployments
        lists = self._whole if listing.whole else self._parts
        # What is kept holds its Deployments, so no other object can have one of their ids meanwhile.
        key = (route, listing.namespace if listing.whole else tuple(map(id, deployments)))
        known = lists.get(key)
        if known is not None and (known[0] is deployments or known[0] == deployments):
            return known[1]
        body = self._encode([listing.show(each) for each in deployments])
        listed = body, tag_of(body)
        if deployments:  # any number of namespaces do not exist
            lists.pop(key, None)
            if len(lists) >= REMEMBERED_LISTS:
                del lists[next(iter(lists))]
            lists[key] = deployments, listed
        return listed


_Lists = dict[Hashable, tuple[Deployments, Listed]]
