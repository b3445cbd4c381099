"""File descriptors: enough for the connections that the limits allow."""

from __future__ import annotations

import resource
from typing import Final

import structlog

SPARE: Final = 128
"""Descriptors for everything but clients' connections: files, the event loop, the cluster, programs that kdm runs."""

_log = structlog.get_logger("kdm.server")


def provide(connections: int) -> None:
    """Raise this process' soft limit, where it is lower than needed and the hard limit allows that.

    A soft limit of 1024 is usual, for the sake of programs that use select(2); others are meant to raise it
    (https://0pointer.net/blog/file-descriptor-limits.html), as Go's runtime does. Without it, a flood of connections
    would keep probes out before the limit of connections is reached.

    Args:
        connections: How many there may be at a time.
    """
    needed = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    if allowed < needed:
        _log.warning("too few file descriptors for the limit of connections", allowed=allowed, needed=needed)
