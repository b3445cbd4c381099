"""OpenSSL's own verdict on a client's certificates, without the client.

In TLS 1.2 a server verifies a client's certificates as soon as it has them, before the client proves that it has the
key, and nothing is encrypted yet. So a handshake in memory that stops there gives OpenSSL's verdict on any chain, by
the rules of a real handshake: names, dates, purposes, key sizes, signatures, revocation lists. The only key it needs is
one that this process makes for its own side.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Sequence
from typing import Final

from kdm_http.tls.anonymous_file import anonymous_file
from kdm_http.tls.certificates import Certificate, RevocationList, throwaway_pair
from kdm_http.tls.pem import write_blocks

SECURITY_LEVEL: Final = "@SECLEVEL=2"
"""112 bits: RSA of 2048, no SHA-1 (SSL_CTX_set_security_level(3))."""

_HANDSHAKE, _TLS12 = b"\x16", b"\x03\x03"
_HELLO, _CERTIFICATE = 1, 11
_MAX_RECORD_BYTES: Final = 2**14
"""The longest piece of a message that one record carries (RFC 5246, section 6.2.1)."""


class MaterialMismatch(Exception):
    """OpenSSL did not load what kdm read; the message says what, on one line."""


class Verifier:
    """Verifies client certificates by one set of CAs and revocation lists, as a handshake with them does now."""

    def __init__(self, authorities: Sequence[Certificate], lists: Sequence[RevocationList]) -> None:
        """Load the certificates and lists into OpenSSL.

        Raises:
            MaterialMismatch: OpenSSL does not load what kdm read.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers(f"ECDHE-ECDSA-AES128-GCM-SHA256:{SECURITY_LEVEL}")
        with anonymous_file(_own_side()) as path:
            context.load_cert_chain(path)
        trust_clients(context, authorities, lists)
        self._context = context
        self._begin()

    def error(self, chain: Sequence[bytes]) -> ssl.SSLError | None:
        """Return why OpenSSL refuses a client now, or None where it would continue.

        Args:
            chain: The DER of the client's certificate, then of the others it sends.
        """
        incoming, connection = self._begin()
        incoming.write(certificate_message(chain))
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as exc:
            return exc
        raise AssertionError("a handshake cannot be over before the client's key exchange")

    def _begin(self) -> tuple[ssl.MemoryBIO, ssl.SSLObject]:
        incoming = ssl.MemoryBIO()
        connection = self._context.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True)
        incoming.write(CLIENT_HELLO)
        try:
            connection.do_handshake()
        except ssl.SSLWantReadError:
            return incoming, connection
        except ssl.SSLError as exc:
            raise MaterialMismatch(f"OpenSSL's configuration does not let kdm verify clients: {exc.reason}") from exc
        raise AssertionError("a handshake cannot be over before a client shows its certificate")


def certificate_message(chain: Sequence[bytes]) -> bytes:
    """Return what a client of TLS 1.2 sends to show certificates (RFC 5246, section 7.4.2), given their DER."""
    certificates = b"".join(_with_length(der, 3) for der in chain)
    return _records(_message(_CERTIFICATE, _with_length(certificates, 3)))


def trust_clients(context: ssl.SSLContext, authorities: Sequence[Certificate], lists: Sequence[RevocationList]) -> None:
    """Make a server's context demand and verify client certificates; with lists, also that none of them is revoked.

    Raises:
        MaterialMismatch: OpenSSL does not load what kdm read.
    """
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    certificates, revocations = {each.der for each in authorities}, {each.der for each in lists}
    try:
        context.load_verify_locations(cadata=b"".join(each.der for each in authorities))
        if lists:
            with anonymous_file(write_blocks("X509 CRL", [each.der for each in lists])) as path:
                context.load_verify_locations(path)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except ssl.SSLError as exc:
        raise MaterialMismatch(f"OpenSSL cannot read it: {exc.reason or exc}") from exc
    loaded = context.cert_store_stats()
    if loaded["x509"] != len(certificates) or not certificates.issuperset(context.get_ca_certs(binary_form=True)):
        raise MaterialMismatch(f"OpenSSL read {loaded['x509']} of its {len(certificates)} certificates")
    if loaded["crl"] != len(revocations):
        raise MaterialMismatch(f"OpenSSL read {loaded['crl']} of its {len(revocations)} revocation lists")


@functools.cache
def _own_side() -> bytes:
    return throwaway_pair()  # no client ever sees it


def _with_length(content: bytes, octets: int) -> bytes:
    return len(content).to_bytes(octets) + content


def _message(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + _with_length(body, 3)


def _records(message: bytes) -> bytes:
    pieces = (message[start : start + _MAX_RECORD_BYTES] for start in range(0, len(message), _MAX_RECORD_BYTES))
    return b"".join(_HANDSHAKE + _TLS12 + _with_length(piece, 2) for piece in pieces)


def _extension(number: int, body: bytes) -> bytes:
    return number.to_bytes(2) + _with_length(body, 2)


# The random bytes are zeros: nothing here is secret.
CLIENT_HELLO: Final = _records(
    _message(
        _HELLO,
        _TLS12
        + bytes(32)
        + _with_length(b"", 1)  # session
        + _with_length(bytes.fromhex("c02b"), 2)  # TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
        + _with_length(b"\0", 1)  # no compression
        + _with_length(
            _extension(10, _with_length(bytes.fromhex("0017001d0018"), 2))  # supported_groups: P-256, X25519, P-384
            + _extension(11, _with_length(b"\0", 1))  # ec_point_formats: uncompressed
            + _extension(13, _with_length(bytes.fromhex("0403"), 2))  # signature_algorithms: ecdsa_secp256r1_sha256
            + _extension(0xFF01, _with_length(b"", 1)),  # renegotiation_info (RFC 5746)
            2,
        ),
    )
)
"""What a client of TLS 1.2 begins with (RFC 5246, section 7.4.1.2)."""
