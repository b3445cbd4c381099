"""The server's TLS: TLS 1.3 with required client certificates, replaced with new files without dropping connections.

Key exchange: Python 3.11 can set one curve or keep OpenSSL's list (``SSLContext.set_groups`` comes with 3.15). One
curve would cost most clients a second round trip, so the list is OpenSSL's. The command ``kdm`` limits it to X25519,
P-256 and P-384 with the ``openssl.cnf`` in this package (see ``kdm_cli.__main__``); a process that embeds the server,
or has an ``OPENSSL_CONF`` of its own, keeps its own list.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from attrs import field, frozen

from kdm_http.tls.anonymous_file import anonymous_file
from kdm_http.tls.certificate_files import Contents, Snapshot, TlsConfigurationError, TlsFiles, understand
from kdm_http.tls.certificates import Certificate
from kdm_http.tls.handshake import HandshakeContext
from kdm_http.tls.known_clients import KnownClients
from kdm_http.tls.trial import TrialFailed, try_server
from kdm_http.tls.trust import Trust
from kdm_http.tls.verifier import SECURITY_LEVEL, MaterialMismatch, trust_clients

__all__ = ["Material", "TlsConfigurationError", "TlsFiles", "load"]

# Mozilla's intermediate profile, version 5.7, without its DHE suites (they need parameters and serve old clients).
# https://wiki.mozilla.org/Security/Server_Side_TLS.
_TLS12_CIPHERS: Final = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    f"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:{SECURITY_LEVEL}"
)


@frozen
class Material:
    """Everything that is made of one state of the files. A connection keeps what it began with.

    Attributes:
        context: The context for new connections.
        trust: The client CAs and CRLs.
        certificate: The server's own certificate.
        digest: The digest of the files it was made of.
        clients: The clients seen since.
    """

    context: ssl.SSLContext
    trust: Trust
    certificate: Certificate
    digest: str
    clients: KnownClients = field(factory=KnownClients, init=False, eq=False, repr=False)


def load(
    files: TlsFiles,
    *,
    now: datetime,
    held: Snapshot | None = None,
    minimum_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    development: bool = False,
) -> Material:
    """Make a context of the files, and try it: what is returned works.

    Args:
        files: The files.
        now: The time at which they are checked, timezone-aware.
        held: What was read of them; None to read them now.
        minimum_version: The lowest TLS version: 1.3, or 1.2 for clients that do not have it.
        development: Whether kdm's public development certificates are accepted.

    Returns:
        What was made.

    Raises:
        TlsConfigurationError: A file cannot be read or understood, OpenSSL reads something else in it, the key does
            not fit the certificate, a certificate or CRL is past or before its time, a CRL cannot be applied or is not
            signed by a client CA, no client could connect, or a development certificate is among them.
    """
    if minimum_version not in {ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3}:
        raise TlsConfigurationError("the lowest TLS version can be 1.2 or 1.3")
    held = held or files.read()
    contents = understand(files, held, now)
    if not development:
        _check_development(files, contents)
    try:
        trust = Trust(contents.authorities, contents.lists)
        context = _context(files, held, minimum_version)
        trust_clients(context, contents.authorities, contents.lists)
    except MaterialMismatch as exc:
        raise TlsConfigurationError(f"cannot use {files.client_ca} with {files.crl or 'no CRL'}: {exc}") from exc
    except OSError as exc:
        raise TlsConfigurationError(f"cannot hand the certificates to OpenSSL: {exc.strerror}") from exc
    _try(files, context, contents, trust)
    return Material(context, trust, contents.server[0], held.digest)


def _check_development(files: TlsFiles, contents: Contents) -> None:
    for path, certificates in ((files.certificate, contents.server), (files.client_ca, contents.authorities)):
        if any(certificate.development for certificate in certificates):
            raise TlsConfigurationError(f"{path} is of kdm's development PKI, whose keys are public: see --dev")


def _try(files: TlsFiles, context: ssl.SSLContext, contents: Contents, trust: Trust) -> None:
    """Try a handshake in memory, and check for each CA whether its clients could connect."""
    try:
        try_server(context, contents.server)
    except TrialFailed as exc:
        raise TlsConfigurationError(f"no client could connect to {files.certificate} with {files.key}: {exc}") from exc
    for authority in contents.authorities:
        flaw = trust.flaw(authority)
        if flaw:
            lists = f" and {files.crl}" if files.crl else ""
            raise TlsConfigurationError(
                f"no client of '{authority.subject}' could connect with {files.client_ca}{lists}: {flaw}"
            )


def _context(files: TlsFiles, held: Snapshot, minimum_version: ssl.TLSVersion) -> HandshakeContext:
    context = HandshakeContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = minimum_version
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers(_TLS12_CIPHERS)
    context.serve_protocol("http/1.1")
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    # A ticket would let a client come back after it expired or was revoked.
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with anonymous_file(held.certificate) as certificate, anonymous_file(held.key) as key:
            context.load_cert_chain(certificate, key, password=_no_passphrase(files.key))
    except ssl.SSLError as exc:
        reason = "the key does not fit the certificate" if exc.reason == "KEY_VALUES_MISMATCH" else exc.reason or exc
        raise TlsConfigurationError(f"cannot use {files.certificate} with {files.key}: {reason}") from exc
    return context


def _no_passphrase(key: Path) -> Callable[[], str]:
    """Return a replacement for the passphrase prompt, which a service must not show."""

    def encrypted() -> str:
        raise TlsConfigurationError(f"the key {key} is encrypted: give an unencrypted one that only kdm can read")

    return encrypted
