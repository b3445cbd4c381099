"""What the connections of one listener have in common."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import datetime

import structlog
from attrs import define, field

from kdm_http.server.application import AnswerAtOnce
from kdm_http.server.events import ServerEvents
from kdm_http.server.known_lines import KnownLines
from kdm_http.server.limits import ClientQuota, Limits
from kdm_http.server.uvicorn_seam import ServerState
from kdm_http.tls.peer import Peer
from kdm_http.tls.rejection import Reason, Rejection
from kdm_http.tls.reload import ServerTls

_log = structlog.get_logger("kdm.server")


@define(eq=False)
class ListenerContext:
    """What the connections of one listener share. Belongs to one event loop.

    Attributes:
        name: "api" or "ops".
        limits: The bounds.
        events: Called for what happens.
        now: Returns the time, in UTC, at which certificates are checked.
        quota: What each user may still take.
        state: The server's connections, tasks and default header fields, as uvicorn keeps them.
        tls: The TLS in use; None on a plain listener.
        answer_at_once: Answers requests that need no application; None where there is none.
        known_lines: The request lines that were answered before.
        emptied: Set while there is no connection.
        draining: Whether every connection is to end.
        default_head: The header fields that every response begins with, as they are sent.
        allowed_s: How long a connection may be in each phase, in seconds, in the order of ``deadlines.Phase``.
    """

    name: str
    limits: Limits
    events: ServerEvents
    now: Callable[[], datetime]
    quota: ClientQuota
    state: ServerState
    tls: ServerTls | None = None
    answer_at_once: AnswerAtOnce | None = None
    known_lines: KnownLines = field(factory=KnownLines)
    emptied: asyncio.Event = field(factory=asyncio.Event)
    draining: bool = False
    default_head: bytes = b""
    allowed_s: tuple[float, float, float, float] = field(init=False)

    @allowed_s.default
    def _allowed_s(self) -> tuple[float, float, float, float]:
        return self.limits.idle_s, self.limits.header_s, self.limits.body_s, math.inf

    def reject(self, rejection: Rejection) -> None:
        """Log that a client was turned away, and report it to ``events``."""
        # Port scanners and TCP probes come and go all the time.
        level = logging.INFO if rejection.reason is Reason.DISCONNECTED else logging.WARNING
        _log.log(
            level,
            "client rejected",
            address=rejection.address,
            reason=rejection.reason.value,
            detail=rejection.detail,
            established=rejection.established,
            user=rejection.user,
            subject=rejection.subject,
            fingerprint=rejection.fingerprint,
        )
        self.events.rejected(rejection)

    def refused(self, status: int, message: str, peer: Peer | None) -> None:
        """Report that the server itself answered a request with an error."""
        user = peer.identity.user if peer else ""
        _log.debug("request refused", listener=self.name, status=status, reason=message, user=user)
        self.events.request_refused(self.name, status, peer)
