"""Events as they go over the wire: server-sent events (WHATWG HTML, section 9.2)."""

from __future__ import annotations

from typing import Final

PRESENT: Final = b"present"
SYNCED: Final = b"synced"
ADDED: Final = b"added"
MODIFIED: Final = b"modified"
DELETED: Final = b"deleted"
BOOKMARK: Final = b"bookmark"
STALE: Final = b"stale"
FRESH: Final = b"fresh"
RESET: Final = b"reset"
CLOSING: Final = b"closing"

NAMES: Final = (PRESENT, SYNCED, ADDED, MODIFIED, DELETED, BOOKMARK, STALE, FRESH, RESET, CLOSING)
"""The names of all events there are."""

STARTED: Final = b"started"
ITEM: Final = b"item"
ROLLOUT: Final = b"rollout"
DONE: Final = b"done"
ERROR: Final = b"error"
"""What is said of a request while it is done: it has begun, one of its items is over, so is that item's rollout; and
the answer, or what went wrong."""

COMMENT: Final = b":\n\n"
"""Says nothing: it keeps proxies and clients from giving up a quiet connection."""


def event(name: bytes, data: bytes, identifier: bytes | None = None) -> bytes:
    """Return an event.

    Args:
        name: Its name.
        data: JSON, which has no line break.
        identifier: What a client sends back as Last-Event-ID; empty to have it forget the last one; None to leave it
            as it is.
    """
    if identifier is None:
        return b"event: %b\ndata: %b\n\n" % (name, data)
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name, identifier, data)


def retry(milliseconds: int) -> bytes:
    """Return how long a client waits before it connects again."""
    return b"retry: %d\n\n" % milliseconds
