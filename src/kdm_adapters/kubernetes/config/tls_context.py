"""TLS towards the API server as kubectl does it, made in memory: no certificate and no key touches the disk."""

from __future__ import annotations

import base64
import binascii
import os
import re
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from attrs import field, frozen

_BLOCK: Final = re.compile(
    rb"^-----BEGIN ([^\r\n]+?)-----[ \t\r]*\n(.*?)^-----END \1-----[ \t\r]*$", re.DOTALL | re.MULTILINE
)


class UnusableCertificate(ValueError):
    """Certificates or a key that TLS cannot use. The message holds nothing of them."""


@frozen
class Tls:
    """What a connection's TLS is made of. Equal values make equal connections.

    Attributes:
        authorities: The certificates to trust, in DER; None for the system's.
        verify: Whether the server has to prove who it is.
        server_name: The name that the server's certificate must hold, where it is not the host's; else "".
        certificate: The client's certificate chain, in PEM; empty for none.
        key: Its private key, in PEM.
    """

    authorities: tuple[bytes, ...] | None = field(default=None, repr=False)
    verify: bool = True
    server_name: str = ""
    certificate: bytes = field(default=b"", repr=False)
    key: bytes = field(default=b"", repr=False)


def authorities(bundle: bytes) -> tuple[bytes, ...]:
    """Return the certificates in a bundle, in DER. What else is in it, such as broken blocks, is left out, as in Go.

    Args:
        bundle: PEM.

    Raises:
        UnusableCertificate: It holds none.
    """
    scratch = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    found = []
    for kind, der, has_headers in _blocks(bundle):
        if kind == b"CERTIFICATE" and not has_headers:
            try:
                scratch.load_verify_locations(cadata=der)
            except (ssl.SSLError, ValueError):
                continue
            found.append(der)
    if not found:
        raise UnusableCertificate("holds no certificate in PEM")
    return tuple(found)


def client_certificate(certificate: bytes, key: bytes) -> tuple[bytes, bytes]:
    """Return a certificate chain and its key in PEM, without what else is in the files.

    Args:
        certificate: PEM, the client's own certificate first.
        key: PEM, not encrypted.

    Raises:
        UnusableCertificate: One is missing or cannot be read, or they do not belong together.
    """
    chain = [der for kind, der, _ in _blocks(certificate) if kind == b"CERTIFICATE"]
    if not chain:
        raise UnusableCertificate("the client certificate holds no certificate in PEM")
    keys = [(kind, der, headers) for kind, der, headers in _blocks(key) if kind.endswith(b"PRIVATE KEY")]
    if not keys:
        raise UnusableCertificate("the client key holds no private key in PEM")
    kind, der, has_headers = keys[0]
    if kind.startswith(b"ENCRYPTED") or has_headers:
        raise UnusableCertificate("the client key is encrypted, and nobody is there to type its password")
    pair = b"".join(_pem(b"CERTIFICATE", each) for each in chain), _pem(kind, der)
    _load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), *pair)
    return pair


def tls_context(tls: Tls) -> ssl.SSLContext:
    """Return a context for connections as client-go makes them (``transport.TLSConfigFor``).

    TLS 1.2 at least; whatever is trusted is an anchor, root or not; a name counts in a certificate's
    subjectAltName alone.

    Raises:
        UnusableCertificate: The client's certificate cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Python 3.13 would refuse certificate authorities without a key usage, which Go and many clusters do not mind.
    context.verify_flags = (context.verify_flags & ~ssl.VERIFY_X509_STRICT) | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = False
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif tls.authorities is None:
        context.load_default_certs()
        _load_directories(context, os.environ.get("SSL_CERT_DIR", ""))
    else:
        context.load_verify_locations(cadata=b"".join(tls.authorities))
    if tls.certificate:
        _load(context, tls.certificate, tls.key)
    return context


def _load_directories(context: ssl.SSLContext, directories: str) -> None:
    """Trust what is in directories, as Go does. OpenSSL would look for names that are hashes alone."""
    for directory in filter(None, directories.split(os.pathsep)):
        with suppress(OSError):
            for path in Path(directory).iterdir():
                with suppress(OSError, UnusableCertificate):
                    context.load_verify_locations(cadata=b"".join(authorities(path.read_bytes())))


def _load(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    with _readable(certificate + key) as path:
        try:
            context.load_cert_chain(path, password=b"")  # without one it would ask on the terminal
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise UnusableCertificate("the client key does not belong to the client certificate") from None
            reason = error.reason or "not readable"
            raise UnusableCertificate(f"the client certificate or key is unusable ({reason})") from None


@contextmanager
def _readable(content: bytes) -> Iterator[str]:
    """Make a path to read some bytes from: OpenSSL takes a key from a file only. It is memory where there is such."""
    if hasattr(os, "memfd_create") and Path("/proc/self/fd").is_dir():
        descriptor = os.memfd_create("kdm-client-certificate", os.MFD_CLOEXEC)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(content)
            yield f"/proc/self/fd/{descriptor}"
    else:
        with tempfile.NamedTemporaryFile() as file:  # readable by its owner alone
            file.write(content)
            file.flush()
            yield file.name


def _blocks(pem: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield each PEM block's type, content, and whether it has headers (RFC 1421), but of broken ones nothing."""
    pem, at = pem.replace(b"\r\n", b"\n"), 0
    while block := _BLOCK.search(pem, at):
        headers, separator, body = block[2].rpartition(b"\n\n") if b":" in block[2] else (b"", b"", block[2])
        try:
            content = base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error:
            at = block.start() + 1  # its end may be another's
            continue
        at = block.end()
        yield block[1], content, bool(headers or separator)


def _pem(kind: bytes, der: bytes) -> bytes:
    return b"-----BEGIN %b-----\n%b-----END %b-----\n" % (kind, base64.encodebytes(der), kind)
