"""A small certificate authority: makes, renews and revokes certificates, in memory.

:mod:`kdm_cli.pki.directory` keeps it and what it issued as files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from kdm_cli.pki.errors import PkiError
from kdm_cli.pki.names import folded, make_subject, parse_san
from kdm_cli.pki.pair import Pair
from kdm_cli.pki.validity import SKEW

_PURPOSES: Final = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


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
        subject = make_subject(name, [organization] if organization else [])
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
        subject = make_subject(name, organizations)
        if folded(subject) == folded(self.pair.certificate.subject):  # OpenSSL would take it for self-issued
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
