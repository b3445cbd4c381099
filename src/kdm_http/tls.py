"""The server's TLS: TLS 1.3 with required client certificates, swapped for new files with no connection dropped.

Key exchange: Python 3.11 can name one curve or leave OpenSSL's list alone (``SSLContext.set_groups`` is of 3.15). One
curve would cost most clients a second round trip, so the list is OpenSSL's. The command ``kdm`` cuts it down to
X25519, P-256 and P-384 by means of the ``openssl.cnf`` beside this module (see ``__main__``); a process that embeds the
server, or has an ``OPENSSL_CONF`` of its own, has the list it chose.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import ssl
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, cast

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

from kdm_http.handshake import HandshakeContext
from kdm_http.pki import is_development_certificate
from kdm_http.trust import Trust

# Mozilla's intermediate profile, version 5.7, without its DHE suites (they need parameters and serve old clients).
# https://wiki.mozilla.org/Security/Server_Side_TLS.
# Level 2 demands 112 bits: RSA of 2048, no SHA-1 (SSL_CTX_set_security_level(3)).
_TLS12_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:@SECLEVEL=2"
)

# X509_CERT_AUX of OpenSSL's "TRUSTED CERTIFICATE": SEQUENCE { reject [0] { clientAuth } }.
_REJECT_CLIENTS: Final = bytes.fromhex("300ca00a06082b06010505070302")


class TlsConfigurationError(Exception):
    """The certificate files cannot be used; the message says which and why, on one line."""


@frozen
class TlsFiles:
    """Where the server's TLS comes from: PEM files, which may be replaced at any time.

    Attributes:
        certificate: The server's certificate, then its intermediate ones.
        key: Its private key, not encrypted.
        client_ca: The certificates trusted to sign clients. An intermediate one is trusted without its root.
        crl: The CRL of each client CA; None when revocation is not checked.
    """

    certificate: Path
    key: Path
    client_ca: Path
    crl: Path | None = None

    def digest(self) -> str:
        """Return a digest of all contents, which differs when any of them changed.

        Raises:
            TlsConfigurationError: One of them cannot be read.
        """
        digest = hashlib.sha256()
        for path in self._paths():
            content = _read(path)
            digest.update(len(content).to_bytes(8) + content)
        return digest.hexdigest()

    def _paths(self) -> Sequence[Path]:
        return [path for path in (self.certificate, self.key, self.client_ca, self.crl) if path is not None]


@frozen
class Material:
    """Everything made of one state of the files. Immutable; connections keep the one they began with.

    Attributes:
        context: The context for new connections.
        trust: The client CAs and CRLs.
        certificate: The server's own certificate.
        digest: The digest of the files it was made of.
    """

    context: ssl.SSLContext
    trust: Trust
    certificate: x509.Certificate
    digest: str


def load(
    files: TlsFiles,
    *,
    now: datetime,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    development: bool = False,
) -> Material:
    """Read the files, check them and make a context of them.

    Args:
        files: Which files.
        now: The time to judge them at, timezone-aware.
        minimum_version: The lowest TLS version: 1.3, or 1.2 for clients that lack it.
        development: Whether kdm's public development certificates are accepted.

    Returns:
        What was made.

    Raises:
        TlsConfigurationError: A file cannot be read or understood, the key does not fit the certificate, the
            server's certificate or a CRL has expired, a CRL is not signed by a client CA, or a development
            certificate is among them.
    """
    if minimum_version not in {ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3}:
        raise TlsConfigurationError("the lowest TLS version can be 1.2 or 1.3")
    digest = files.digest()
    own, authorities = _certificates(files.certificate), _certificates(files.client_ca)
    certificate = _check_server(own[0], files.certificate, now)
    if not development:
        for path, found in ((files.certificate, own), (files.client_ca, authorities)):
            if any(map(is_development_certificate, found)):
                raise TlsConfigurationError(f"{path} is of kdm's development PKI, whose keys are public: see --dev")
    trust = Trust(tuple(authorities), _revocation_lists(files, now))
    try:
        context = _context(files, minimum_version)
        refusing = _context(files, minimum_version, trusted=False)
    except ssl.SSLError as exc:
        reason = "the key does not fit the certificate" if exc.reason == "KEY_VALUES_MISMATCH" else exc.reason or exc
        raise TlsConfigurationError(f"cannot use {files.certificate} with {files.key}: {reason}") from exc
    # Without a place for the file that it takes, refusals by code come after the handshake, with no alert.
    with contextlib.suppress(OSError), _rejected(trust.authorities) as rejected:
        refusing.load_verify_locations(rejected)
        context.watch_certificates(refusing)
    if files.digest() != digest:
        raise TlsConfigurationError("the certificate files changed while they were read")
    return Material(context, trust, certificate, digest)


def _context(files: TlsFiles, minimum_version: ssl.TLSVersion, *, trusted: bool = True) -> HandshakeContext:
    context = HandshakeContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum_version
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers(_TLS12_CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    # A ticket would let a client come back after it expired or was revoked.
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_cert_chain(files.certificate, files.key, password=_no_password(files.key))
    if trusted:
        context.load_verify_locations(files.client_ca)
        if files.crl is not None:
            context.load_verify_locations(files.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


class _Encrypted:
    """Stands in for the passphrase prompt, which a service must not open."""

    def __init__(self, key: Path) -> None:
        self._key = key

    def __call__(self) -> str:
        raise TlsConfigurationError(f"the key {self._key} is encrypted: give an unencrypted one, readable by kdm alone")


def _no_password(key: Path) -> _Encrypted:
    return _Encrypted(key)


def _check_server(certificate: x509.Certificate, path: Path, now: datetime) -> x509.Certificate:
    if now > certificate.not_valid_after_utc:
        raise TlsConfigurationError(f"the certificate {path} expired at {certificate.not_valid_after_utc:%FT%TZ}")
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return certificate
    if ExtendedKeyUsageOID.SERVER_AUTH not in usages:
        raise TlsConfigurationError(
            f"the certificate {path} is not for servers: its extended key usage lacks serverAuth"
        )
    return certificate


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_read(path))
    except ValueError as exc:
        raise TlsConfigurationError(f"{path} holds no PEM certificates: {exc}") from exc


def _revocation_lists(files: TlsFiles, now: datetime) -> tuple[x509.CertificateRevocationList, ...]:
    if files.crl is None:
        return ()
    authorities = {certificate.subject: certificate for certificate in _certificates(files.client_ca)}
    lists = []
    for block in _pem_blocks(_read(files.crl), b"X509 CRL"):
        try:
            crl = x509.load_pem_x509_crl(block)
        except ValueError as exc:
            raise TlsConfigurationError(f"{files.crl} holds a malformed CRL: {exc}") from exc
        _check_list(crl, files, authorities.get(crl.issuer), now)
        lists.append(crl)
    if not lists:
        raise TlsConfigurationError(f"{files.crl} holds no PEM CRL")
    return tuple(lists)


def _check_list(
    crl: x509.CertificateRevocationList, files: TlsFiles, authority: x509.Certificate | None, now: datetime
) -> None:
    issuer = crl.issuer.rfc4514_string()
    if authority is None or not crl.is_signature_valid(cast("CertificateIssuerPublicKeyTypes", authority.public_key())):
        raise TlsConfigurationError(f"the CRL of '{issuer}' in {files.crl} is not signed by a CA in {files.client_ca}")
    if crl.next_update_utc is not None and now > crl.next_update_utc:
        raise TlsConfigurationError(f"the CRL of '{issuer}' in {files.crl} is stale since {crl.next_update_utc:%FT%TZ}")


def _pem_blocks(content: bytes, label: bytes) -> Iterator[bytes]:
    begin, end = b"-----BEGIN " + label + b"-----", b"-----END " + label + b"-----"
    for part in content.split(begin)[1:]:
        yield begin + part.partition(end)[0] + end


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise TlsConfigurationError(f"cannot read {path}: {exc.strerror}") from exc


@contextlib.contextmanager
def _rejected(authorities: Sequence[x509.Certificate]) -> Iterator[str]:
    """Write CAs marked as never to be trusted for clients, for as long as it takes to load them.

    Python takes this form from a file alone. Where the system has them, an anonymous file serves a read-only container.
    """
    pem = b"".join(
        b"-----BEGIN TRUSTED CERTIFICATE-----\n"
        + base64.encodebytes(authority.public_bytes(serialization.Encoding.DER) + _REJECT_CLIENTS)
        + b"-----END TRUSTED CERTIFICATE-----\n"
        for authority in authorities
    )
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("kdm-rejected-cas"), "wb") as file:
            file.write(pem)
            file.flush()
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(pem)
            file.flush()
            yield file.name
