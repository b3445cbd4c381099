"""A certificate that names a CA as its issuer and is not signed: OpenSSL's verdict on it shows whether the CA works.

OpenSSL looks for the CA, then at its purpose, its key's size, its revocation list and its dates, and at the signature
last. So "the signature is wrong" means that a client with a valid one would pass, and any other error means that no
client of this CA can connect. The CA's key is not needed.
"""

from __future__ import annotations

import secrets
from typing import Final

from kdm_http.tls.certificates import Certificate

ONLY_UNSIGNED: Final = 7
"""X509_V_ERR_CERT_SIGNATURE_FAILURE of OpenSSL's x509_vfy.h."""

_SIGNATURES: Final = {
    "1.2.840.113549.1.1.1": "300d06092a864886f70d01010b0500",  # RSA: sha256WithRSAEncryption
    "1.2.840.113549.1.1.10": "304106092a864886f70d01010a3034a00f300d06096086480165030402010500a11c301a06092a864886f70d"
    "010108300d06096086480165030402010500a203020120",  # RSA-PSS: with SHA-256
    "1.2.840.10045.2.1": "300a06082a8648ce3d040302",  # EC: ecdsa-with-SHA256
    "1.2.840.10040.4.1": "300b0609608648016503040302",  # DSA: with SHA-256
}
"""The signature algorithm that goes with a key's. Other kinds have one OID for both (RFC 8410, RFC 9881)."""

_VERSION_3: Final = bytes.fromhex("a003020102")
_NAME: Final = bytes.fromhex("310f300d06035504030c06") + b"probed"
# A key on P-256: the curve's generator.
_KEY: Final = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d03010703420004"
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
_FOR_CLIENTS: Final = bytes.fromhex("30130603551d25040c300a06082b06010505070302")
_AUTHORITY_KEY, _DISTRIBUTION_POINTS = bytes.fromhex("0603551d23"), bytes.fromhex("0603551d1f")
_DATES: Final = bytes.fromhex("301e170d") + b"240101000000Z" + bytes.fromhex("170d") + b"491231235959Z"


def client_of(authority: Certificate, distribution_points: list[bytes]) -> bytes:
    """Return the DER of an unsigned client certificate of a CA.

    Args:
        authority: The CA.
        distribution_points: Where lists of this CA are published that cover no other clients, as extensions in DER.
    """
    algorithm = _algorithm(authority.key_algorithm)
    extensions = [_FOR_CLIENTS]
    if authority.key_id is not None:
        key = _tlv(0x30, _tlv(0x80, authority.key_id))
        extensions.append(_tlv(0x30, _AUTHORITY_KEY + _tlv(0x04, key)))
    if distribution_points:
        points = _tlv(0x30, b"".join(map(_content, distribution_points)))
        extensions.append(_tlv(0x30, _DISTRIBUTION_POINTS + _tlv(0x04, points)))
    content = _tlv(
        0x30,
        _VERSION_3
        + _tlv(0x02, b"\x01" + secrets.token_bytes(16))
        + algorithm
        + authority.subject_der
        + _DATES
        + _tlv(0x30, _NAME)
        + _KEY
        + _tlv(0xA3, _tlv(0x30, b"".join(extensions))),
    )
    return _tlv(0x30, content + algorithm + _tlv(0x03, b"\0"))


def _algorithm(key_algorithm: str) -> bytes:
    known = _SIGNATURES.get(key_algorithm)
    return bytes.fromhex(known) if known else _tlv(0x30, _oid(key_algorithm))


def _oid(dotted: str) -> bytes:
    first, second, *others = map(int, dotted.split("."))
    return _tlv(0x06, b"".join(map(_base_128, [first * 40 + second, *others])))


def _base_128(number: int) -> bytes:
    octets = [number & 0x7F]
    while number := number >> 7:
        octets.append(number & 0x7F | 0x80)
    return bytes(reversed(octets))


def _tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def _content(value: bytes) -> bytes:
    """Return what is inside a DER value."""
    return value[2 + (value[1] & 0x7F if value[1] & 0x80 else 0) :]
