"""What happens while the server runs, reported for metrics and the audit trail. The server writes its own log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from kdm_http.tls.peer import Peer
from kdm_http.tls.rejection import Rejection


class ServerEvents:
    """Every method does nothing; override those you need.

    Called on the event loop's thread: an implementation must be quick and must not raise.
    """

    def rejected(self, rejection: Rejection) -> None:
        """A client was turned away: in the handshake, right after it, or later: its certificate is no longer good."""

    def connection_opened(self, listener: str, peer: Peer | None) -> None:
        """A connection has passed its handshake.

        Args:
            listener: "api" or "ops".
            peer: Who the client is; None on the ops listener, and for a client that was refused after the handshake.
        """

    def connection_closed(self, listener: str) -> None:
        """A connection that was reported as opened is closed."""

    def connection_dropped(self, listener: str) -> None:
        """A connection was closed at once because there are too many in total."""

    def request_refused(self, listener: str, status: int, peer: Peer | None) -> None:
        """The server itself answered a request with an error.

        Args:
            listener: "api" or "ops".
            status: 400, 401, 405, 408, 417, 429 or 431 for a request that the application did not see; 500 or 504 for
                one that it did not answer, or not in time.
            peer: Who asked; None where that is not known here.
        """

    def reloaded(self, not_after: Mapping[str, datetime]) -> None:
        """See :class:`kdm_http.tls.reload.ReloadEvents`."""

    def reload_refused(self, reason: str) -> None:
        """See :class:`kdm_http.tls.reload.ReloadEvents`."""
