"""The certificates of the recording servers and of their clients, good and bad, as files."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Final

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

__all__ = ["PASSWORD", "write"]

PASSWORD: Final = b"of the encrypted key"
_DAY: Final = dt.timedelta(days=1)
_NAMES: Final = [
    *map(x509.DNSName, ("localhost", "cluster.test", "other.test")),
    *(x509.IPAddress(ipaddress.ip_address(each)) for each in ("127.0.0.1", "0.0.0.0", "::1", "::")),  # noqa: S104
]
_SERVER: Final = x509.SubjectAlternativeName(_NAMES)
_CA: Final = x509.BasicConstraints(ca=True, path_length=None)
_SIGNS: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


@frozen
class _Pair:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, encryption: serialization.KeySerializationEncryption | None = None) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            encryption or serialization.NoEncryption(),
        )


def _issue(name: str, *extensions: x509.ExtensionType, by: _Pair | None = None, days: int = 7) -> _Pair:
    """Issue a certificate; by itself if nobody else is named. A negative number of days lets it be expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 30 * _DAY)
        .not_valid_after(now + days * _DAY)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
    return _Pair(builder.sign(by.key if by else key, SHA256()), key)


def write(directory: Path) -> None:
    """Write every certificate and key as ``NAME.crt`` and ``NAME.key``.

    Args:
        directory: Where to.
    """
    ca = _issue("kdm test CA", _CA, _SIGNS)
    stranger = _issue("another CA", _CA, _SIGNS)
    bare = _issue("a CA without key usage", _CA)
    pairs = {
        "ca": ca,
        "stranger-ca": stranger,
        "bare-ca": bare,
        "main": _issue("main", _SERVER, by=ca),
        "stranger": _issue("stranger", _SERVER, by=stranger),
        "bare": _issue("bare", _SERVER, by=bare),
        "own": _issue("its own CA", _SERVER),
        "nameless": _issue("localhost", by=ca),
        "expired": _issue("expired", _SERVER, by=ca, days=-1),
        "alice": _issue("alice", by=ca),
        "bob": _issue("bob", by=ca),
    }
    for name, pair in pairs.items():
        (directory / f"{name}.crt").write_bytes(pair.pem)
        (directory / f"{name}.key").write_bytes(pair.key_pem())
    encryption = serialization.BestAvailableEncryption(PASSWORD)
    (directory / "alice-encrypted.key").write_bytes(pairs["alice"].key_pem(encryption))
    (directory / "alice-both.pem").write_bytes(pairs["alice"].pem + pairs["alice"].key_pem())
    bundle = b"# first another\n" + stranger.pem + b"\nsubject: the right one\n" + ca.pem
    (directory / "bundle.crt").write_bytes(bundle.replace(b"\n", b"\r\n"))
    (directory / "garbage.crt").write_text("no certificate\n")
    (directory / "empty.crt").write_text("")
