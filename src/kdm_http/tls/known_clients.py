"""What follows from a client's certificates alone, worked out once for each client and set of CAs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from attrs import frozen

from kdm_http.tls.certificates import BadCertificate, Certificate, fingerprint
from kdm_http.tls.peer import Peer, PeerRefused
from kdm_http.tls.rejection import Reason

REMEMBERED_CLIENTS: Final = 1000
"""How many clients are remembered, the last seen ones."""

REMEMBERED_BYTES: Final = 8 * 1024
"""The longest chain that is remembered, in bytes: a client may send up to 100 KiB (SSL_MAX_CERT_LIST_DEFAULT)."""

REMEMBERED_CERTIFICATES: Final = 4
"""How many certificates it may have: each that was read costs some 2 KB besides its bytes, and small ones are 300."""


@frozen
class KnownClient:
    """A client, by the certificates it sent. No date is judged here.

    Attributes:
        judged: Whom its own certificate names, without an address; or why kdm refuses it, whatever OpenSSL says.
        chain: The certificates, its own first; empty where one of them cannot be read.
        subject: The subject of its own (RFC 4514), or "" where that cannot be read.
        fingerprint: SHA-256 of its own, in lower-case hex, or "" where it sent none.
    """

    judged: Peer | tuple[Reason, str]
    chain: tuple[Certificate, ...] = ()
    subject: str = ""
    fingerprint: str = ""

    @property
    def user(self) -> str:
        """Who it claims to be, or "" where kdm refuses it."""
        return self.judged.identity.user if isinstance(self.judged, Peer) else ""

    @classmethod
    def read(cls, ders: Sequence[bytes]) -> KnownClient:
        """Read what a client sent, and judge what OpenSSL does not. Raises nothing: the client chose the bytes.

        Args:
            ders: The DER of its certificate, then of the others it sent; empty where it sent none.
        """
        if not ders:
            return NOBODY
        shown, subject = fingerprint(ders[0]), ""
        try:
            own = Certificate.read(ders[0])
            subject = own.subject
            chain = (own, *map(Certificate.read, ders[1:]))
            return cls(Peer.of(own), chain, subject, shown)
        except BadCertificate as exc:
            refused = Reason.MALFORMED, str(exc)
        except PeerRefused as exc:
            refused = exc.reason, str(exc)
        return cls(refused, (), subject, shown)  # not the exception, which holds on to its frames


NOBODY: Final = KnownClient((Reason.MALFORMED, "the client showed no certificate"))


class KnownClients:
    """The clients of one set of CAs and revocation lists, a bounded number of them. Belongs to one event loop.

    A reload makes another one. Whether a certificate is valid is never remembered here: OpenSSL says so in each
    handshake, and ``Trust`` on kept connections.
    """

    def __init__(self) -> None:
        """Know nobody."""
        self._recall = lru_cache(REMEMBERED_CLIENTS)(KnownClient.read)

    def find(self, ders: tuple[bytes, ...]) -> KnownClient:
        """Return what follows from the certificates that a client sent; see ``KnownClient.read``."""
        if len(ders) > REMEMBERED_CERTIFICATES or sum(map(len, ders)) > REMEMBERED_BYTES:
            return KnownClient.read(ders)
        return self._recall(ders)
