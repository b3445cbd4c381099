"""Who is at the other end of a connection, read from the certificate it proved to own."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kdm_core import Identity
from kdm_http import spiffe
from kdm_http.rejection import Reason


class PeerRefused(ValueError):
    """A certificate that is no good to identify a client, whoever signed it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@frozen
class Peer:
    """A client, as its certificate says. Made once for a connection and found in ``scope["state"]["peer"]``.

    Attributes:
        identity: Who it is. The user is the common name, the groups are the organizations, as kube-apiserver reads
            them; where the certificate is an X.509-SVID, the user is its SPIFFE ID.
        subject: The certificate's subject, as RFC 4514 writes it.
        serial: Its serial number, in lower-case hex.
        fingerprint: SHA-256 of its DER bytes, in lower-case hex.
        not_before: The first moment it is valid, in UTC.
        not_after: The last moment it is valid, in UTC.
        address: Where it connects from: ``host:port``, or "" where the system could not tell.
        certificate: The certificate itself.
    """

    identity: Identity
    subject: str
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    address: str
    certificate: x509.Certificate = field(repr=False, eq=False)

    @classmethod
    def from_der(cls, der: bytes, address: str = "") -> Self:
        """Read a client certificate. Its signature and dates are verified elsewhere: by OpenSSL, and by ``Trust``.

        Args:
            der: The certificate's DER bytes.
            address: Where the client connects from.

        Raises:
            PeerRefused: It cannot be read, is not for clients (no ``clientAuth``, or a CA), or names nobody.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
            _check_purpose(certificate)
            fingerprint = certificate.fingerprint(hashes.SHA256()).hex()
            return cls(
                identity=_identity(certificate, fingerprint, address),
                subject=certificate.subject.rfc4514_string(),
                serial=f"{certificate.serial_number:x}",
                fingerprint=fingerprint,
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                address=address,
                certificate=certificate,
            )
        except PeerRefused:
            raise
        except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as exc:
            raise PeerRefused(Reason.NO_IDENTITY, f"the certificate cannot be read: {exc}") from exc


def _check_purpose(certificate: x509.Certificate) -> None:
    """OpenSSL lets a certificate without an extended key usage pass, and a CA's too: refuse both."""
    extensions = certificate.extensions
    try:
        if extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            raise PeerRefused(Reason.CA_AS_CLIENT, "a CA's certificate is not a client's")
    except x509.ExtensionNotFound:
        pass
    try:
        usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise PeerRefused(Reason.NO_PURPOSE, "the certificate has no extended key usage") from None
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise PeerRefused(Reason.WRONG_PURPOSE, "the certificate's extended key usage lacks clientAuth")


def _identity(certificate: x509.Certificate, fingerprint: str, address: str) -> Identity:
    try:
        user = spiffe.find_id(certificate)
    except ValueError as exc:
        raise PeerRefused(Reason.NO_IDENTITY, f"malformed X.509-SVID: {exc}") from exc
    if user is None:
        names = _values(certificate, NameOID.COMMON_NAME)
        if len(names) != 1:
            raise PeerRefused(Reason.NO_IDENTITY, f"the certificate has {len(names)} common names, not one")
        user = names[0]
        if user.casefold().startswith("spiffe:"):  # else a CA that vouches for names alone could hand out SPIFFE IDs
            raise PeerRefused(Reason.NO_IDENTITY, "a common name cannot be a SPIFFE ID: that takes a URI SAN")
    return Identity(user, frozenset(_values(certificate, NameOID.ORGANIZATION_NAME)), fingerprint, address)


def _values(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    values = [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]
    # An invisible character in a name would let one user pass for another in a log or a policy.
    if not all(value and value.isprintable() and value == value.strip() for value in values):
        raise PeerRefused(Reason.NO_IDENTITY, "a name in the certificate's subject is empty or not printable")
    return values
