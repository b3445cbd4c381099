"""Limits on what one client, and all clients together, can make the server hold or do."""

from __future__ import annotations

import math
from collections.abc import Callable

from attrs import define, field, frozen
from attrs.validators import gt


@frozen
class Limits:
    """Limits of a listener. The defaults suit a service inside a cluster.

    Attributes:
        handshake_s: From accepting a connection to the end of its TLS handshake, in seconds.
        header_s: From the first byte of a request to the end of its header, in seconds.
        header_bytes: Target and header fields of one request together, in bytes. Beyond it: 431.
        header_fields: Header fields of one request. Beyond it: 431.
        body_s: From the end of the header to the end of the body, in seconds. The application limits its size.
        request_s: From the end of the header to the beginning of the response, in seconds. Beyond it: 504.
        write_s: How long a client may leave a response unread while the buffers are full, in seconds.
        idle_s: How long a connection may wait for its first or next request, in seconds. One that can get nothing but
            an error (401, or 429 for its number) waits no longer than header_s.
        connection_age_s: After this long, in seconds, a connection serves what it has begun and is closed.
        connections: Connections at a time, in total. Beyond it: closed before the handshake.
        connections_per_identity: Connections at a time of one user. Beyond it: 429 and closed.
        requests_per_s: Requests a second of one user, sustained. Beyond it: 429.
        requests_burst: Requests of one user at once, after a quiet period.
        streams: Streams at a time, in total. Each takes a connection. Beyond it: 503.
        streams_per_identity: Streams at a time of one user. Beyond it: 429.
        grace_s: How long a graceful stop waits for requests under way, in seconds. Streams are ended at once.
    """

    handshake_s: float = field(default=10.0, validator=gt(0))
    header_s: float = field(default=10.0, validator=gt(0))
    header_bytes: int = field(default=16 * 1024, validator=gt(0))
    header_fields: int = field(default=100, validator=gt(0))
    body_s: float = field(default=20.0, validator=gt(0))
    request_s: float = field(default=30.0, validator=gt(0))
    write_s: float = field(default=30.0, validator=gt(0))
    idle_s: float = field(default=75.0, validator=gt(0))
    connection_age_s: float = field(default=3600.0, validator=gt(0))
    connections: int = field(default=1024, validator=gt(0))
    connections_per_identity: int = field(default=128, validator=gt(0))
    requests_per_s: float = field(default=1000.0, validator=gt(0))
    requests_burst: int = field(default=2000, validator=gt(0))
    streams: int = field(default=512, validator=gt(0))
    streams_per_identity: int = field(default=64, validator=gt(0))
    grace_s: float = field(default=10.0, validator=gt(0))


@define(eq=False)
class Share:
    """What one user holds: connections, and a token bucket of requests.

    Attributes:
        tokens: How many requests are left, as of the last ``fill``. A request costs one.
    """

    tokens: float
    _filled_at: float
    _most: float
    _per_s: float
    connections: int = 0

    def fill(self, now: float) -> None:
        """Add what was earned until now, in monotonic seconds."""
        self.tokens += (now - self._filled_at) * self._per_s
        if self.tokens > self._most:  # noqa: PLR1730 - min() would cost a call for each request
            self.tokens = self._most
        self._filled_at = now


class ClientQuota:
    """How much of the server each user may still take. Belongs to one event loop; holds nothing for users who left.

    Attributes:
        monotonic: Returns the time, in seconds.
    """

    def __init__(self, limits: Limits, monotonic: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self._limits = limits
        self._by_user: dict[str, Share] = {}

    def join(self, user: str) -> Share | None:
        """Count a new connection of this user, and return its share; None beyond the limit. ``leave`` it if so."""
        share = self._by_user.get(user)
        if share is None:
            limits = self._limits
            most = float(limits.requests_burst)
            share = self._by_user[user] = Share(most, self.monotonic(), most, limits.requests_per_s)
        if share.connections >= self._limits.connections_per_identity:
            return None
        share.connections += 1
        return share

    def leave(self, share: Share) -> None:
        """Count one connection less."""
        share.connections -= 1

    def acquire(self, share: Share) -> int:
        """Take one request from a user's bucket.

        Returns:
            0 when there was one; otherwise after how many whole seconds there will be one (for Retry-After).
        """
        share.fill(self.monotonic())
        if share.tokens >= 1:
            share.tokens -= 1
            return 0
        return math.ceil((1 - share.tokens) / self._limits.requests_per_s)

    def forget_quiet(self) -> None:
        """Drop the users who have no connection and a full bucket. Called every second."""
        for user, share in list(self._by_user.items()):
            share.fill(self.monotonic())
            if share.connections == 0 and share.tokens >= self._limits.requests_burst:
                del self._by_user[user]
