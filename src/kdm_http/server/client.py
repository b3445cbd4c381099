"""The client of one connection: who it is, how long that holds, and how much it may ask for.

Nothing here reads from or writes to a connection: a rejection is returned, and the connection acts on it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from kdm_http.server.context import ListenerContext
from kdm_http.server.limits import Share
from kdm_http.server.responses import Refusal
from kdm_http.tls.context import Material
from kdm_http.tls.handshake import Handshake, HandshakeObject
from kdm_http.tls.known_clients import NOBODY
from kdm_http.tls.peer import Peer
from kdm_http.tls.rejection import Reason, Rejection

_NEVER: Final = datetime.min.replace(tzinfo=UTC)


class Client:
    """A client, known by its certificate; on a plain listener, a client that is not known. Belongs to one event loop.

    Attributes:
        peer: Whom the certificate names; None before ``identify``, for a client that it refuses, and on a plain
            listener.
        refusal: What each request is answered with, where ``identify`` refused the client; None otherwise.
        share: What its user holds of the server; None where the connection is not counted as one of the user's.
    """

    __slots__ = (
        "_began",
        "_context",
        "_good_until",
        "_handshake",
        "_known",
        "_verified_by",
        "peer",
        "refusal",
        "share",
    )

    def __init__(self, context: ListenerContext, handshake: Handshake, verified_by: Material | None) -> None:
        """Start with a client that is not identified yet: its handshake begins.

        Args:
            context: What the listener's connections have in common.
            handshake: What is known of the client so far.
            verified_by: What OpenSSL verified the client by; None on a plain listener.
        """
        self.peer: Peer | None = None
        self.refusal: Refusal | None = None
        self._context = context
        self._handshake = handshake
        self._verified_by = verified_by
        self._known = NOBODY
        self._began = context.now()
        self._good_until = _NEVER
        self.share: Share | None = None

    def identify(self, tls: HandshakeObject) -> Rejection | None:
        """Read the certificate that the client proved to own, after OpenSSL accepted it.

        Args:
            tls: The server's end of the connection, after the handshake.

        Returns:
            Why the client is refused; None if it is good.
        """
        material = self._verified_by
        assert material is not None  # noqa: S101 - only TLS listeners identify their clients
        self._known = known = material.clients.find(tuple(tls.get_unverified_chain()))
        if isinstance(known.judged, Peer):
            self.peer = known.judged.at(self._handshake.address)
            if not tls.session_reused:  # else OpenSSL did not look at it
                # Since OpenSSL looked, the client may have taken its time, and the certificate may have ended.
                self._good_until = material.trust.holds_until(known.chain, self._began)
            rejection = self.revalidate()
        else:
            rejection = self._rejection(*known.judged)
        if rejection is not None:
            self.peer = None
            said = f"the client certificate is refused ({rejection.reason.value}): {rejection.detail}"
            self.refusal = Refusal(401, said, close=True)
        return rejection

    def revalidate(self) -> Rejection | None:
        """Check the client by the certificates in use and the current time.

        Returns:
            Why the client is turned away; None if it is still good, or was refused from the beginning.
        """
        tls = self._context.tls
        if tls is None:
            return None
        now, material = self._context.now(), tls.material
        if self._verified_by is material and now < self._good_until:
            return None
        if self.refusal is not None:
            return None
        chain = self._known.chain
        reason = material.trust.refusal(chain, now)
        self._verified_by, self._good_until = material, material.trust.holds_until(chain, now)
        if reason is None:
            return None
        return self._rejection(reason, "the certificate is no longer good", established=True)

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
        """Count a request, and return the error for a client that asks for more than its share; None for the others.

        A client that was refused has no share.
        """
        if self.peer is None:
            return self.refusal
        if self.share is None:
            many = self._context.limits.connections_per_identity
            return Refusal(429, f"more than {many} connections of one identity", close=True, retry_after_s=1)
        retry_after_s = self._context.quota.acquire(self.share)
        if retry_after_s:
            rate = self._context.limits.requests_per_s
            return Refusal(429, f"more than {rate:g} requests a second of one identity", retry_after_s=retry_after_s)
        return None

    def _rejection(self, reason: Reason, detail: str, *, established: bool = False) -> Rejection:
        return Rejection(
            time=self._context.now(),
            address=self._handshake.address,
            reason=reason,
            detail=detail,
            established=established,
            user=self._known.user,
            subject=self._known.subject,
            fingerprint=self._known.fingerprint,
        )
