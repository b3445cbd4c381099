"""Who the client of a connection is, read from the certificate it proved to own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Self

from attrs import field, frozen

from kdm_core import Identity
from kdm_core.copyable import Copyable
from kdm_http.tls import spiffe
from kdm_http.tls.certificates import CLIENT_AUTH, BadCertificate, Certificate
from kdm_http.tls.rejection import Reason


class PeerRefused(Copyable, ValueError):
    """A certificate that cannot identify a client, whoever signed it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@frozen
class Peer:
    """A client, by its certificate. Made once for each connection, and found in ``scope["state"]["peer"]``.

    Attributes:
        identity: Who it is. The user is the common name, the groups are the organizations, as kube-apiserver reads
            them; where the certificate is an X.509-SVID, the user is its SPIFFE ID.
        subject: The certificate's subject, as RFC 4514 writes it.
        serial: Its serial number, in lower-case hex.
        fingerprint: SHA-256 of its DER bytes, in lower-case hex.
        not_before: The first moment it is valid, in UTC.
        not_after: The last moment it is valid, in UTC.
        address: Where it connects from: ``host:port``, or "" where that is not known.
        certificate: The certificate itself.
    """

    identity: Identity
    subject: str
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    address: str
    certificate: Certificate = field(repr=False, eq=False)

    @classmethod
    def from_der(cls, der: bytes, address: str = "") -> Self:
        """Read a client certificate. Its signature and dates are verified elsewhere: by OpenSSL, and by ``Trust``.

        Args:
            der: The certificate's DER bytes.
            address: Where the client connects from.

        Raises:
            PeerRefused: It cannot be read, is not for clients (no ``clientAuth``, or a CA), or does not name a client.
        """
        try:
            return cls.of(Certificate.read(der), address)
        except BadCertificate as exc:
            raise PeerRefused(Reason.MALFORMED, str(exc)) from exc

    @classmethod
    def of(cls, certificate: Certificate, address: str = "") -> Self:
        """Read whom a client certificate names.

        Raises:
            PeerRefused: It is not for clients (no ``clientAuth``, or a CA), or does not name a client.
        """
        _check_purpose(certificate)
        return cls(
            identity=_identity(certificate, address),
            subject=certificate.subject,
            serial=certificate.serial,
            fingerprint=certificate.fingerprint,
            not_before=certificate.not_before,
            not_after=certificate.not_after,
            address=address,
            certificate=certificate,
        )

    def at(self, address: str) -> Self:
        """Return the same client, connecting from an address."""
        who = self.identity
        return type(self)(
            Identity(who.user, who.groups, who.fingerprint, address),
            self.subject,
            self.serial,
            self.fingerprint,
            self.not_before,
            self.not_after,
            address,
            self.certificate,
        )


def _check_purpose(certificate: Certificate) -> None:
    """Refuse a certificate without an extended key usage, and one of a CA: OpenSSL accepts both."""
    if certificate.is_ca:
        raise PeerRefused(Reason.CA_AS_CLIENT, "a CA's certificate is not a client's")
    if certificate.purposes is None:
        raise PeerRefused(Reason.NO_PURPOSE, "the certificate has no extended key usage: clientAuth is required")
    if CLIENT_AUTH not in certificate.purposes:
        raise PeerRefused(Reason.WRONG_PURPOSE, "the certificate's extended key usage lacks clientAuth")


def _identity(certificate: Certificate, address: str) -> Identity:
    _check_names(certificate.organizations)
    try:
        user = spiffe.find_id(certificate)
    except ValueError as exc:
        raise PeerRefused(Reason.NO_IDENTITY, f"malformed X.509-SVID: {exc}") from exc
    if user is None:
        names = certificate.common_names
        _check_names(names)
        if len(names) != 1:
            raise PeerRefused(Reason.NO_IDENTITY, f"the certificate has {len(names)} common names, not one")
        user = names[0]
        if user.casefold().startswith("spiffe:"):  # or a CA that may issue names only could issue SPIFFE IDs
            raise PeerRefused(Reason.NO_IDENTITY, "a common name cannot be a SPIFFE ID: that takes a URI SAN")
    return Identity(user, frozenset(certificate.organizations), certificate.fingerprint, address)


def _check_names(values: Sequence[str]) -> None:
    # With an invisible character in a name, one user could look like another in a log or a policy.
    if not all(value and value.isprintable() and value == value.strip() for value in values):
        raise PeerRefused(Reason.NO_IDENTITY, "a name in the certificate's subject is empty or not printable")
