"""The client of one connection: who it is, how long that holds, and how much it may ask for.

Nothing here reads from or writes to a connection: a rejection is returned, and the connection acts on it.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

from kdm_http.server.context import ListenerContext
from kdm_http.server.limits import Share
from kdm_http.server.responses import Refusal
from kdm_http.tls.certificates import Certificate
from kdm_http.tls.context import Material
from kdm_http.tls.handshake import Handshake
from kdm_http.tls.peer import Peer, PeerRefused
from kdm_http.tls.rejection import Reason, Rejection


class Client:
    """A client, known by its certificate; on a plain listener, a client that is not known. Belongs to one event loop.

    Attributes:
        peer: Whom the certificate names; None before ``identify``, and on a plain listener.
        share: What its user holds of the server; None where the connection is not counted as one of the user's.
    """

    __slots__ = ("_chain", "_context", "_good_until", "_handshake", "_verified_by", "peer", "share")

    def __init__(self, context: ListenerContext, handshake: Handshake, verified_by: Material | None) -> None:
        """Start with a client that is not identified yet.

        Args:
            context: What the listener's connections have in common.
            handshake: What is known of the client so far.
            verified_by: What OpenSSL verified the client by; None on a plain listener.
        """
        self.peer: Peer | None = None
        self._context = context
        self._handshake = handshake
        self._verified_by = verified_by
        self._chain: tuple[Certificate, ...] = ()
        self._good_until = datetime.min.replace(tzinfo=UTC)
        self.share: Share | None = None

    def identify(self, tls: ssl.SSLObject) -> Rejection | None:
        """Read the certificate that the client proved to own.

        Args:
            tls: The server's end of the connection, after the handshake.

        Returns:
            Why the client is turned away; None if it is good.
        """
        certificate = tls.getpeercert(binary_form=True)  # there is one: without, the handshake would have failed
        try:
            self.peer = self._handshake.identify(certificate or b"")
        except PeerRefused as exc:
            return self._rejection(exc.reason, str(exc))
        self._chain = self._handshake.sent
        if self._verified_by is not None and not tls.session_reused:  # else OpenSSL did not look at it
            self._good_until = self._verified_by.trust.holds_until(self._chain, self._context.now())
        return self.revalidate()

    def revalidate(self) -> Rejection | None:
        """Check the client by the certificates in use and the current time.

        Returns:
            Why the client is turned away; None if it is still good.
        """
        tls = self._context.tls
        if tls is None:
            return None
        now, material = self._context.now(), tls.material
        if self._verified_by is material and now < self._good_until:
            return None
        reason = material.trust.refusal(self._chain, now)
        self._verified_by, self._good_until = material, material.trust.holds_until(self._chain, now)
        return None if reason is None else self._rejection(reason, "the certificate is no longer good")

    def join(self) -> None:
        """Count the connection as one of the user's."""
        if self.peer is not None:
            self.share = self._context.quota.join(self.peer.identity.user)

    def leave(self) -> None:
        """Stop counting the connection."""
        if self.share is not None:
            self._context.quota.leave(self.share)
            self.share = None

    def admits_at_once(self, now_s: float) -> bool:
        """Return whether a request would be let in without another look at the certificate. Takes nothing yet.

        Args:
            now_s: The time, in monotonic seconds.
        """
        context, share = self._context, self.share
        if (
            share is None
            or context.tls is None
            or self._verified_by is not context.tls.material
            or context.now() >= self._good_until
        ):
            return False
        share.fill(now_s)
        return share.tokens >= 1

    def over_quota(self) -> Refusal | None:
        """Count a request, and return the error for a client that asks for more than its share; None for the others."""
        if self.peer is None:
            return None
        if self.share is None:
            many = self._context.limits.connections_per_identity
            return Refusal(429, f"more than {many} connections of one identity", close=True, retry_after_s=1)
        retry_after_s = self._context.quota.acquire(self.share)
        if retry_after_s:
            rate = self._context.limits.requests_per_s
            return Refusal(429, f"more than {rate:g} requests a second of one identity", retry_after_s=retry_after_s)
        return None

    def _rejection(self, reason: Reason, detail: str) -> Rejection:
        return Rejection(
            time=self._context.now(),
            address=self._handshake.address,
            reason=reason,
            detail=detail,
            established=True,
            user=self.peer.identity.user if self.peer else "",
            subject=self._handshake.subject,
            fingerprint=self._handshake.fingerprint,
        )
