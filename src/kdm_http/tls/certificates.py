"""Certificates and revocation lists as kdm sees them: every field is read once, here, and every error is contained.

The library that reads them raises on certificates that OpenSSL accepts, in a dozen ways and often only when a field is
first looked at. No other module of the server uses its objects: a client chooses these bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final, Self, TypeVar, cast

from attrs import field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID, NameOID

DEVELOPMENT: Final = "kdm DEVELOPMENT ONLY - not secret"
"""The organization of every development CA: its keys are public."""

SERVER_AUTH: Final = ExtendedKeyUsageOID.SERVER_AUTH.dotted_string
CLIENT_AUTH: Final = ExtendedKeyUsageOID.CLIENT_AUTH.dotted_string

_E = TypeVar("_E", bound=x509.ExtensionType)

_APPLIED: Final = frozenset({ExtensionOID.AUTHORITY_KEY_IDENTIFIER, ExtensionOID.ISSUING_DISTRIBUTION_POINT})
"""Extensions of a revocation list that OpenSSL applies, so that they may be critical."""


class BadCertificate(ValueError):
    """A certificate or revocation list that cannot be read; the message says what of it, on one line."""


@frozen
class KeyUsage:
    """What a certificate's key may do (RFC 5280, section 4.2.1.3), as far as it matters here."""

    signs_data: bool
    signs_certificates: bool
    signs_lists: bool


@frozen
class Certificate:
    """A certificate, read to its last field.

    Attributes:
        der: Its bytes.
        subject: Whose it is, as RFC 4514 writes it; what cannot be printed is escaped.
        issuer: Who signed it, the same way.
        serial: Its serial number, in lower-case hex.
        fingerprint: SHA-256 of its bytes, in lower-case hex.
        not_before: The first moment it is valid, in UTC.
        not_after: The last moment it is valid, in UTC.
        common_names: The common names of its subject.
        organizations: The organizations of its subject.
        uris: The URIs among its alternative names.
        is_ca: Whether it may sign others.
        purposes: The OIDs of its extended key usage; None where it has none.
        key_usage: What its key may do; None where it does not say.
        development: Whether it is of kdm's development PKI, whose keys are public.
        subject_der: Its subject, in DER.
        key_id: Its subject key identifier; None where it has none.
        key_algorithm: The OID of its key's algorithm.
    """

    der: bytes = field(repr=False)
    subject: str
    issuer: str
    serial: str
    fingerprint: str
    not_before: datetime
    not_after: datetime
    common_names: tuple[str, ...]
    organizations: tuple[str, ...]
    uris: tuple[str, ...]
    is_ca: bool
    purposes: frozenset[str] | None
    key_usage: KeyUsage | None
    development: bool
    subject_der: bytes = field(repr=False)
    key_id: bytes | None = field(repr=False)
    key_algorithm: str
    _folded_subject: object = field(repr=False)
    _folded_issuer: object = field(repr=False)

    @classmethod
    def read(cls, der: bytes) -> Self:
        """Read a certificate. Nothing is verified.

        Args:
            der: Its bytes.

        Raises:
            BadCertificate: A part of it cannot be read.
        """
        with _contained("the certificate"):
            read = x509.load_der_x509_certificate(der)
        with _contained("the certificate's subject"):
            subject = read.subject
            names = printable(subject.rfc4514_string())
            subject_der, folded_subject = subject.public_bytes(), _folded(subject)
            common_names = _values(subject, NameOID.COMMON_NAME)
            organizations = _values(subject, NameOID.ORGANIZATION_NAME)
        with _contained("the certificate's issuer"):
            issuer = read.issuer
            issuer_names = printable(issuer.rfc4514_string())
            folded_issuer = _folded(issuer)
            signers = _values(issuer, NameOID.ORGANIZATION_NAME)
        with _contained("the dates of the certificate"):
            not_before, not_after = read.not_valid_before_utc, read.not_valid_after_utc
        with _contained("the certificate's serial number"):
            serial = f"{read.serial_number:x}"
        with _contained("the certificate's key"):
            key_algorithm = read.public_key_algorithm_oid.dotted_string
        with _contained("the certificate's extensions"):
            extensions = read.extensions
            constraints = _find(extensions, x509.BasicConstraints)
            purposes = _find(extensions, x509.ExtendedKeyUsage)
            usage = _find(extensions, x509.KeyUsage)
            alternatives = _find(extensions, x509.SubjectAlternativeName)
            identifier = _find(extensions, x509.SubjectKeyIdentifier)
            return cls(
                der=der,
                subject=names,
                issuer=issuer_names,
                serial=serial,
                fingerprint=fingerprint(der),
                not_before=not_before,
                not_after=not_after,
                common_names=common_names,
                organizations=organizations,
                uris=tuple(alternatives.get_values_for_type(x509.UniformResourceIdentifier)) if alternatives else (),
                is_ca=constraints is not None and constraints.ca,
                purposes=None if purposes is None else frozenset(oid.dotted_string for oid in purposes),
                key_usage=KeyUsage(usage.digital_signature, usage.key_cert_sign, usage.crl_sign) if usage else None,
                development=DEVELOPMENT in organizations or DEVELOPMENT in signers,
                subject_der=subject_der,
                key_id=identifier.digest if identifier else None,
                key_algorithm=key_algorithm,
                folded_subject=folded_subject,
                folded_issuer=folded_issuer,
            )

    def names_as_issuer(self, other: Self) -> bool:
        """Return whether this certificate says that the other one issued it, by OpenSSL's comparison of names."""
        return self._folded_issuer == other._folded_subject


@frozen
class RevocationList:
    """A revocation list (CRL), without its entries: those are OpenSSL's to look up.

    Attributes:
        der: Its bytes.
        issuer: Who signed it, as RFC 4514 writes it.
        begin: From when on it holds, in UTC.
        end: When it is stale, in UTC; None for never.
        flaw: Why it cannot be applied to every client of its CA; "" where it can.
        distribution_points: Where it is published, as the extension of a certificate that it covers, in DER; None
            where it covers all.
    """

    der: bytes = field(repr=False)
    issuer: str
    begin: datetime
    end: datetime | None
    flaw: str
    distribution_points: bytes | None = field(repr=False)

    @classmethod
    def read(cls, der: bytes) -> Self:
        """Read a revocation list. Nothing is verified.

        Raises:
            BadCertificate: A part of it cannot be read.
        """
        with _contained("the revocation list"):
            read = x509.load_der_x509_crl(der)
        with _contained("the revocation list's issuer"):
            issuer = printable(read.issuer.rfc4514_string())
        with _contained("the dates of the revocation list"):
            begin, end = read.last_update_utc, read.next_update_utc
        with _contained("the revocation list's extensions"):
            extensions = read.extensions
            return cls(der, issuer, begin, end, _flaw(extensions), _distribution_points(extensions))

    def signed_by(self, authority: Certificate) -> bool:
        """Return whether a CA's key signed this list, whatever the names are."""
        try:
            with _contained("the signature"):
                key = x509.load_der_x509_certificate(authority.der).public_key()
                read = x509.load_der_x509_crl(self.der)
                return read.is_signature_valid(cast("CertificateIssuerPublicKeyTypes", key))
        except BadCertificate:  # such as a key of another kind
            return False


def throwaway_pair() -> bytes:
    """Return a new ECDSA P-256 key and a certificate of its own making, as PEM."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([]), datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem + builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def fingerprint(der: bytes) -> str:
    """Return SHA-256 of a certificate's bytes, in lower-case hex: it needs no reading of them."""
    return hashlib.sha256(der).hexdigest()


def _flaw(extensions: x509.Extensions) -> str:
    """Say why a list would let revoked clients pass, or would not be applied (RFC 5280, sections 5.2.4 and 5.2.5)."""
    for each in extensions:
        if each.oid == ExtensionOID.DELTA_CRL_INDICATOR:
            return "it is a delta list, which holds only changes: give the complete list"
        if each.critical and each.oid not in _APPLIED:
            return f"its critical extension {each.oid.dotted_string} is not known"
    point = _find(extensions, x509.IssuingDistributionPoint)
    if point is None:
        return ""
    if point.only_contains_ca_certs or point.only_contains_attribute_certs:
        return "its scope leaves out clients: it is only for CAs or attribute certificates"
    if point.only_some_reasons:
        return "its scope is only some reasons for revocation: give the complete list"
    return "it is an indirect list, with entries of other CAs" if point.indirect_crl else ""


def _distribution_points(extensions: x509.Extensions) -> bytes | None:
    point = _find(extensions, x509.IssuingDistributionPoint)
    if point is None or (point.full_name is None and point.relative_name is None):
        return None
    where = x509.DistributionPoint(point.full_name, point.relative_name, None, None)
    return x509.CRLDistributionPoints([where]).public_bytes()


def printable(text: str) -> str:
    """Escape what would break a line of the log, or hide in it."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _values(name: x509.Name, oid: x509.ObjectIdentifier) -> tuple[str, ...]:
    return tuple(str(attribute.value) for attribute in name.get_attributes_for_oid(oid))


def _folded(name: x509.Name) -> list[set[tuple[str, str]]]:
    """Return a name without what does not count: string types, case and repeated spaces (RFC 5280, section 7.1)."""
    return [
        {(each.oid.dotted_string, " ".join(str(each.value).split()).lower()) for each in part} for part in name.rdns
    ]


def _find(extensions: x509.Extensions, kind: type[_E]) -> _E | None:
    return next((each.value for each in extensions if isinstance(each.value, kind)), None)


@contextlib.contextmanager
def _contained(what: str) -> Iterator[None]:
    """Turn anything that the reading of foreign bytes raises into ``BadCertificate``, and suppress its warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as exc:
        raise _bad(what, exc) from exc
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":  # of the library's Rust; it derives from BaseException
            raise
        raise _bad(what, exc) from exc


def _bad(what: str, error: BaseException) -> BadCertificate:
    said = printable(" ".join(str(error).split())[:200])
    return BadCertificate(f"{what} cannot be read: {said or type(error).__name__}")
