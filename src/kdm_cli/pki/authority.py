"""A small certificate authority: makes, renews and revokes certificates. Pure: files are ``pki_directory``'s."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kdm_http.tls import spiffe
from kdm_http.tls.certificates import DEVELOPMENT

SKEW: Final = timedelta(minutes=5)
"""A new certificate or revocation list is valid this long already, for the clocks that are behind."""

_LABEL: Final = r"[A-Za-z0-9_](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
# A last label of digits alone makes a broken IPv4 address, which no client would look up (RFC 1123, section 2.1).
_is_dns_name: Final = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}", re.ASCII).fullmatch

_PURPOSES: Final = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


class PkiError(Exception):
    """A certificate cannot be made, read or used; the message says why, on one line."""


def is_development_certificate(certificate: x509.Certificate) -> bool:
    """Return whether a certificate is a development CA's, or signed by one: anybody may have its key."""
    return any(
        attribute.value == DEVELOPMENT
        for name in (certificate.subject, certificate.issuer)
        for attribute in name.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    )


def parse_san(text: str) -> x509.GeneralName:
    """Read a subject alternative name: an IP address, a URI (anything with ``://``) or a DNS name.

    Raises:
        PkiError: It is none of them.
    """
    with contextlib.suppress(ValueError):
        if "%" not in text:  # an IPv6 zone means something on one host only, and a certificate cannot hold it
            return x509.IPAddress(ipaddress.ip_address(text))
    if "://" in text:
        if text.lower().startswith("spiffe:"):
            try:
                spiffe.check_id(text)
            except ValueError as exc:
                raise PkiError(f"bad name {text!r}: {exc}") from exc
        if text.isascii() and text.isprintable() and " " not in text:
            return x509.UniformResourceIdentifier(text)
    elif len(text) <= 253 and _is_dns_name(text):
        return x509.DNSName(text)
    raise PkiError(f"bad name {text!r}: expected a DNS name, an IP address or a URI")


@frozen
class Pair:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the private key as PEM, unencrypted PKCS #8."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> Self:
        """Read both.

        Raises:
            PkiError: One of them cannot be read, or they do not belong together.
        """
        try:
            read = x509.load_pem_x509_certificate(certificate)
            private = serialization.load_pem_private_key(key, password=None)
            public = read.public_key()
        except Exception as exc:  # cryptography raises many kinds
            raise PkiError(f"cannot read the certificate or its key: {exc}") from exc
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise PkiError("its key is of another kind than ECDSA")
        if private.public_key() != public:
            raise PkiError("the key does not fit the certificate")
        return cls(read, private)


@frozen
class Authority:
    """A CA that signs leaf certificates and their revocation list."""

    pair: Pair

    @classmethod
    def create(cls, name: str, organization: str | None = None, *, days: int, now: datetime | None = None) -> Self:
        """Make a new CA, with a new ECDSA P-256 key. It may sign leaves alone (RFC 5280, pathLenConstraint 0).

        Args:
            name: Its common name.
            organization: Its organization.
            days: How long it is valid, in days.
            now: When its validity begins; now where None.

        Raises:
            PkiError: A name is empty or too long, or the days are too many.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _subject(name, [organization] if organization else [])
        builder = _builder(subject, subject, key, days, now)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(_key_usage(ca=True), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        return cls(Pair(builder.sign(key, hashes.SHA256()), key))

    def issue(
        self,
        name: str,
        *,
        organizations: Iterable[str] = (),
        sans: Sequence[str] = (),
        purposes: Iterable[str] = ("client",),
        days: int,
        now: datetime | None = None,
    ) -> Pair:
        """Make a leaf certificate with a new ECDSA P-256 key.

        Args:
            name: Its common name: for a client, the user.
            organizations: For a client, its groups.
            sans: Subject alternative names, as ``parse_san`` reads them. A server needs at least one.
            purposes: "client", "server" or both.
            days: How long it is valid, in days, at most as long as the CA.
            now: When its validity begins; now where None.

        Raises:
            PkiError: A name is bad, or a server has no SAN.
        """
        purposes = tuple(purposes)
        if "server" in purposes and not sans:
            raise PkiError("a server's certificate needs a subject alternative name: clients look at nothing else")
        extensions: list[x509.ExtensionType] = [x509.ExtendedKeyUsage([_PURPOSES[purpose] for purpose in purposes])]
        if sans:
            extensions.append(x509.SubjectAlternativeName([parse_san(san) for san in sans]))
        subject = _subject(name, organizations)
        if _folded(subject) == _folded(self.pair.certificate.subject):  # OpenSSL would take it for self-issued
            raise PkiError(f"bad name {name!r}: it is the CA's own")
        return self._sign(subject, extensions, days, now)

    def renew(self, certificate: x509.Certificate, *, days: int, now: datetime | None = None) -> Pair:
        """Make a successor of a leaf certificate: same names and purposes, new key, new dates, new serial number.

        Raises:
            PkiError: It is not a leaf of this CA.
        """
        self.check_issued(certificate)
        if certificate == self.pair.certificate:
            raise PkiError("it is the CA's own certificate: a CA is replaced by another, see 'kdm certs init'")
        kept = (x509.ExtendedKeyUsage, x509.SubjectAlternativeName)
        extensions = [each.value for each in certificate.extensions if isinstance(each.value, kept)]
        return self._sign(certificate.subject, extensions, days, now)

    def check_issued(self, certificate: x509.Certificate) -> None:
        """Make sure that this CA signed a certificate.

        Raises:
            PkiError: It did not.
        """
        try:
            certificate.verify_directly_issued_by(self.pair.certificate)
        except Exception as exc:
            raise PkiError(
                f"'{certificate.subject.rfc4514_string()}' was not issued by "
                f"'{self.pair.certificate.subject.rfc4514_string()}'"
            ) from exc

    def sign_crl(
        self,
        previous: x509.CertificateRevocationList | None = None,
        revoked: Iterable[x509.Certificate] = (),
        *,
        serials: Iterable[int] = (),
        days: int,
        now: datetime | None = None,
    ) -> x509.CertificateRevocationList:
        """Make a revocation list: what the previous one has, and more.

        Its number is greater than the previous one's (RFC 5280, section 5.2.3), and it begins later, so that whoever
        holds both takes this one. Without a previous one the number is the time, in
        milliseconds: greater than that of a list that was lost.

        Args:
            previous: The list before this one.
            revoked: What to revoke in addition. What is revoked already stays as it is.
            serials: The same, by serial number alone.
            days: After how many days the list is stale, and every client of this CA refused: sign again before. At
                most until the CA's own end.
            now: The time of the list; now where None.

        Raises:
            PkiError: The previous list is another CA's or cannot be read, or the CA has ended.
        """
        now = now or datetime.now(UTC)
        begin, number = now - SKEW, int(now.timestamp() * 1000)
        entries: dict[int, x509.RevokedCertificate] = {}
        if previous is not None:
            number = self._check_list(previous) + 1
            entries = {entry.serial_number: entry for entry in previous}
            begin = max(begin, min(previous.last_update_utc + timedelta(seconds=1), now))
        for serial in (*(certificate.serial_number for certificate in revoked), *serials):
            entries.setdefault(serial, x509.RevokedCertificateBuilder(serial, begin).build())
        ca = self.pair.certificate
        end = min(now + timedelta(days=days), ca.not_valid_after_utc)
        if end <= now:
            raise PkiError(f"the CA ended at {ca.not_valid_after_utc:%FT%TZ}: begin another with 'kdm certs init'")
        builder = x509.CertificateRevocationListBuilder(ca.subject, begin, end)
        for entry in entries.values():
            builder = builder.add_revoked_certificate(entry)
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
        builder = builder.add_extension(_authority_key(ca), critical=False)
        return builder.sign(self.pair.key, hashes.SHA256())

    def _check_list(self, crl: x509.CertificateRevocationList) -> int:
        """Make sure that this CA signed a list, and return its number: 0 where it has none."""
        ca = self.pair.certificate
        try:
            signed = crl.issuer == ca.subject and crl.is_signature_valid(self.pair.key.public_key())
            numbers = [each.value.crl_number for each in crl.extensions if isinstance(each.value, x509.CRLNumber)]
        except Exception as exc:  # cryptography raises many kinds, where a field is first read
            raise PkiError(f"the revocation list cannot be read: {exc}") from exc
        if not signed:
            raise PkiError(f"the revocation list was not signed by '{ca.subject.rfc4514_string()}'")
        return max(numbers, default=0)

    def _sign(
        self, subject: x509.Name, extensions: Iterable[x509.ExtensionType], days: int, now: datetime | None
    ) -> Pair:
        ca = self.pair.certificate
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(subject, ca.subject, key, days, now, latest=ca.not_valid_after_utc)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(ca=False), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        builder = builder.add_extension(_authority_key(ca), critical=False)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return Pair(builder.sign(self.pair.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    now: datetime | None,
    latest: datetime | None = None,
) -> x509.CertificateBuilder:
    begin = now or datetime.now(UTC)
    if latest and latest <= begin:
        raise PkiError(f"the CA ended at {latest:%FT%TZ}: begin another with 'kdm certs init'")
    try:
        end = begin + timedelta(days=days)
        return x509.CertificateBuilder(
            issuer_name=issuer,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=begin - SKEW,
            not_valid_after=min(end, latest) if latest else end,
        )
    except (ValueError, OverflowError) as exc:
        raise PkiError(f"cannot make a certificate for {days} days: {exc}") from exc


def _subject(name: str, organizations: Iterable[str]) -> x509.Name:
    pairs = [(NameOID.ORGANIZATION_NAME, each) for each in organizations] + [(NameOID.COMMON_NAME, name)]
    for _, value in pairs:
        if not value or not value.isprintable() or value != value.strip() or len(value) > 64:
            raise PkiError(f"bad name {value!r}: expected 1 to 64 printable characters")
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def _folded(name: x509.Name) -> list[list[tuple[str, str]]]:
    """Return a name as OpenSSL compares it: without regard to case and the number of spaces (RFC 5280, section 7.1)."""
    return [[(each.oid.dotted_string, fold(str(each.value))) for each in rdn] for rdn in name.rdns]


def fold(text: str) -> str:
    """Return a text without regard to case and the number of spaces."""
    return " ".join(text.split()).casefold()


def format_serial(serial: int) -> str:
    """Write a serial number in lower-case hex."""
    return f"{serial:x}"


def parse_serial(text: str) -> int:
    """Read a serial number as ``kdm certs inspect`` or ``openssl x509`` write it.

    Raises:
        PkiError: It is none.
    """
    digits = _hex(text.strip().lower().removeprefix("serial="), "serial number", 40)
    if not int(digits, 16):
        raise PkiError(f"bad serial number {text!r}: it is 0")
    return int(digits, 16)


def parse_fingerprint(text: str) -> str:
    """Read a SHA-256 fingerprint as the audit trail or ``openssl x509 -fingerprint -sha256`` write it.

    Raises:
        PkiError: It is none.
    """
    digits = _hex(text.strip().lower().removeprefix("sha256 fingerprint="), "fingerprint", 64)
    if len(digits) != 64:
        raise PkiError(f"bad fingerprint {text!r}: a SHA-256 one has 64 hex digits")
    return digits


def _hex(text: str, what: str, most: int) -> str:
    digits = text.removeprefix("0x").replace(":", "")
    if not re.fullmatch(rf"[0-9a-f]{{1,{most}}}", digits):
        raise PkiError(f"bad {what} {text!r}: expected at most {most} hex digits, as 'kdm certs inspect' shows them")
    return digits


def _authority_key(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    for each in ca.extensions:
        if isinstance(each.value, x509.SubjectKeyIdentifier):
            return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(each.value)
    raise PkiError("the CA's certificate has no subject key identifier")  # kdm's own have


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )
