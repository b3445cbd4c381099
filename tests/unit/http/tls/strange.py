"""Certificates that no library would make, but that are found in the wild: written byte by byte, and truly signed.

OpenSSL takes most of them; the library that kdm reads certificates with raises on many, often when a field is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")
CLIENT_AUTH: Final = "06082b06010505070302"
SERVER_AUTH: Final = "06082b06010505070301"


def tlv(tag: int, content: bytes) -> bytes:
    """Return one DER value."""
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def sequence(*parts: bytes) -> bytes:
    return tlv(0x30, b"".join(parts))


def name(*attributes: tuple[str, int, bytes]) -> bytes:
    """Return a name of (OID in hex, string tag, bytes)."""
    return sequence(
        *(tlv(0x31, sequence(tlv(6, bytes.fromhex(oid)), tlv(tag, value))) for oid, tag, value in attributes)
    )


def common_name(value: bytes, tag: int = 0x0C) -> bytes:
    return name(("550403", tag, value))


def extension(oid: str, value: bytes, *, critical: bool = False) -> bytes:
    """Return an extension; the OID is in hex."""
    return sequence(tlv(6, bytes.fromhex(oid)), tlv(1, b"\xff") if critical else b"", tlv(4, value))


def general_names(*names: tuple[int, bytes]) -> bytes:
    return extension("551d11", sequence(*(tlv(tag, value) for tag, value in names)))


BASIC_CA: Final = extension("551d13", sequence(tlv(1, b"\xff")), critical=True)
BASIC_LEAF: Final = extension("551d13", sequence(), critical=True)
FOR_CLIENTS: Final = extension("551d25", sequence(bytes.fromhex(CLIENT_AUTH)))
FOR_SERVERS: Final = extension("551d25", sequence(bytes.fromhex(SERVER_AUTH)))
FOR_LOCALHOST: Final = general_names((0x82, b"localhost"))

VALID: Final = sequence(tlv(0x17, b"240101000000Z"), tlv(0x17, b"491231235959Z"))


def certificate(
    signer: ec.EllipticCurvePrivateKey,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: bytes,
    subject: bytes = common_name(b"mallory"),
    version: int | None = 2,
    serial: bytes = b"\x11\x22\x33",
    validity: bytes = VALID,
    extensions: tuple[bytes, ...] | None = (BASIC_LEAF, FOR_CLIENTS),
    public_key: bytes | None = None,
    unique_ids: bytes = b"",
    algorithm: bytes = _ECDSA_SHA256,
    outer_algorithm: bytes | None = None,
) -> bytes:
    """Return the DER of a certificate signed with ECDSA and SHA-256, whatever it says."""
    spki = public_key or key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    signed = sequence(
        b"" if version is None else tlv(0xA0, tlv(2, bytes([version]))),
        tlv(2, serial),
        algorithm,
        issuer,
        validity,
        subject,
        spki,
        unique_ids,
        b"" if extensions is None else tlv(0xA3, sequence(*extensions)),
    )
    signature = signer.sign(signed, ec.ECDSA(hashes.SHA256()))
    return sequence(signed, outer_algorithm or algorithm, tlv(3, b"\0" + signature))


def _validity(begin: tuple[int, bytes], end: tuple[int, bytes]) -> bytes:
    return sequence(tlv(*begin), tlv(*end))


_O: Final = "55040a"
_CN: Final = "550403"
_C: Final = "550406"

SUBJECTS: Final[Mapping[str, dict[str, Any]]] = {
    "ISO-8859-1 in a UTF8String": {"subject": common_name(b"Ren\xe9")},
    "ISO-8859-1 in a PrintableString": {"subject": common_name(b"Ren\xe9", 0x13)},
    "ISO-8859-1 in an IA5String": {"subject": common_name(b"Ren\xe9", 0x16)},
    "ISO-8859-1 in the organization": {"subject": name((_O, 0x0C, b"Soci\xe9t\xe9"), (_CN, 0x0C, b"rene"))},
    "a T61String": {"subject": common_name(b"Ren\xe9", 0x14)},
    "a BMPString of odd length": {"subject": common_name(b"\0a\0", 0x1E)},
    "a BMPString with half a surrogate": {"subject": common_name(b"\xd8\0", 0x1E)},
    "a UniversalString": {"subject": common_name(b"\0\0\0a", 0x1C)},
    "a BIT STRING for a name": {"subject": common_name(b"\0abc", 0x03)},
    "a NUL in the name": {"subject": common_name(b"al\0ice")},
    "a line break in the name": {"subject": common_name(b"alice\nroot")},
    "an empty common name": {"subject": common_name(b"")},
    "an empty subject": {"subject": sequence()},
    "a country of three letters": {"subject": name((_C, 0x13, b"GER"), (_CN, 0x0C, b"rene"))},
    "a name of 60,000 bytes": {"subject": common_name(b"x" * 60_000)},
}
"""Subjects: of a client, a CA or a server."""

SHAPES: Final[Mapping[str, dict[str, Any]]] = {
    "X.509 v1": {"version": None, "extensions": None},
    "X.509 v1 with extensions": {"version": None},
    "X.509 v2": {"version": 1, "extensions": None},
    "X.509 v2 with extensions": {"version": 1},
    "X.509 v4": {"version": 3},
    "X.509 v100": {"version": 99},
    "a unique identifier": {"unique_ids": tlv(0x81, b"\0\x01")},
    "a negative serial number": {"serial": b"\x80\x01"},
    "serial number zero": {"serial": b"\0"},
    "a serial number of 60 bytes": {"serial": b"\x11" * 60},
    "a serial number with leading zeros": {"serial": b"\0\0\x11"},
    "a time without seconds": {"validity": _validity((0x17, b"2401010000Z"), (0x17, b"491231235959Z"))},
    "a time with a zone": {"validity": _validity((0x17, b"240101000000+0100"), (0x17, b"491231235959Z"))},
    "a GeneralizedTime before 2050": {"validity": _validity((0x18, b"20240101000000Z"), (0x18, b"20491231235959Z"))},
    "a time with fractions": {"validity": _validity((0x18, b"20240101000000.5Z"), (0x18, b"20491231235959Z"))},
    "the year 9999": {"validity": _validity((0x17, b"240101000000Z"), (0x18, b"99991231235959Z"))},
    "the year 0": {"validity": _validity((0x18, b"00000101000000Z"), (0x17, b"491231235959Z"))},
    "February 30": {"validity": _validity((0x17, b"240230000000Z"), (0x17, b"491231235959Z"))},
    "second 60": {"validity": _validity((0x17, b"240101000060Z"), (0x17, b"491231235959Z"))},
    "NULL parameters of ECDSA": {"algorithm": bytes.fromhex("300c06082a8648ce3d0403020500")},
    "two signature algorithms": {"outer_algorithm": bytes.fromhex("300a06082a8648ce3d040303")},
    "a key of an unknown kind": {"public_key": sequence(sequence(bytes.fromhex("06042a030405")), tlv(3, b"\0\1"))},
    "a key on an unknown curve": {
        "public_key": sequence(
            sequence(bytes.fromhex("06072a8648ce3d0201"), bytes.fromhex("06052b81040006")),
            tlv(3, b"\0\x04" + b"\1" * 28),
        )
    },
}
"""Everything but names and extensions."""

EXTENSIONS: Final[Mapping[str, tuple[bytes, ...]]] = {
    "a duplicate extension": (FOR_LOCALHOST, FOR_LOCALHOST),
    "a duplicate unknown extension": (extension("2a0304", b"\5\0"), extension("2a0304", b"\5\0")),
    "an unknown critical extension": (extension("2a0304", b"\5\0", critical=True),),
    "an X.400 address": (general_names((0xA3, b""), (0x82, b"localhost")),),
    "an EDI party name": (general_names((0xA5, tlv(0xA1, tlv(0x0C, b"x"))), (0x82, b"localhost")),),
    "a DNS name that is no ASCII": (general_names((0x82, b"ren\xe9.example")),),
    "a URI that is no ASCII": (general_names((0x86, b"https://ren\xe9/")),),
    "a mail address that is no ASCII": (general_names((0x81, b"ren\xe9@example.org")),),
    "an IP address of five bytes": (general_names((0x87, b"\1\2\3\4\5")),),
    "a bad registered ID": (general_names((0x88, b"\x80")),),
    "a directory name in ISO-8859-1": (general_names((0xA4, common_name(b"Ren\xe9"))),),
    "an empty alternative name": (general_names(),),
    "a malformed alternative name": (extension("551d11", b"\x30\x05\x82"),),
    "a malformed key usage": (extension("551d0f", b"\x04\x01\x00"),),
    "an empty key usage": (extension("551d0f", b"\x03\x01\x00"),),
    "a key usage with padding bits": (extension("551d0f", b"\x03\x02\x07\xff"),),
    "a malformed key identifier": (extension("551d0e", b"\x30\x00"),),
    "a malformed authority key identifier": (extension("551d23", b"\x30\x03\x80\x05\x00"),),
    "an authority key identifier in halves": (extension("551d23", sequence(tlv(0x82, b"\x01"))),),
    "malformed name constraints": (extension("551d1e", b"\x04\x00"),),
    "malformed policies": (extension("551d20", b"\x30\x02\x30\x00"),),
    "a malformed distribution point": (extension("551d1f", b"\x30\x02\x04\x00"),),
    "a malformed precertificate list": (extension("2b06010401d679020402", b"\x04\x01\xff"),),
    "trailing bytes in an extension": (extension("551d11", sequence(tlv(0x82, b"localhost")) + b"\0\0"),),
    "three thousand names": (general_names(*((0x82, b"a%d.example" % number) for number in range(3000))),),
}
"""Extensions beside the usual ones."""

USAGES: Final[Mapping[str, tuple[bytes, ...]]] = {
    "a duplicate extended key usage": (BASIC_LEAF, FOR_CLIENTS, FOR_CLIENTS),
    "an empty extended key usage": (BASIC_LEAF, extension("551d25", sequence())),
    "a malformed extended key usage": (BASIC_LEAF, extension("551d25", b"\x05\x00")),
    "malformed basic constraints": (extension("551d13", b"\x05\x00"), FOR_CLIENTS),
    "a huge path length": (extension("551d13", sequence(tlv(1, b"\xff"), tlv(2, b"\x11" * 9))), FOR_CLIENTS),
    "a negative path length": (extension("551d13", sequence(tlv(1, b"\xff"), tlv(2, b"\xff"))), FOR_CLIENTS),
    "no extension at all": (),
}
"""What a client's certificate may be used for."""


def clients() -> Mapping[str, dict[str, Any]]:
    """Return every strange client there is, as arguments of ``certificate``."""
    made: dict[str, dict[str, Any]] = {**SUBJECTS, **SHAPES}
    made |= {label: {"extensions": (BASIC_LEAF, FOR_CLIENTS, *more)} for label, more in EXTENSIONS.items()}
    return made | {label: {"extensions": extensions} for label, extensions in USAGES.items()}


LIST_VALID: Final = (tlv(0x17, b"240101000000Z"), tlv(0x17, b"491231235959Z"))


def revocation_list(
    signer: ec.EllipticCurvePrivateKey,
    *,
    issuer: bytes,
    revoked: tuple[bytes, ...] = (),
    dates: tuple[bytes, ...] = LIST_VALID,
    extensions: tuple[bytes, ...] = (),
) -> bytes:
    """Return the DER of a revocation list signed with ECDSA and SHA-256, whatever it says.

    Args:
        signer: Whose it is.
        issuer: Its issuer's name, in DER.
        revoked: Serial numbers.
        dates: Its begin and its end; the latter may be left out.
        extensions: Its extensions.
    """
    entries = (sequence(tlv(2, serial), tlv(0x17, b"240101000000Z")) for serial in revoked)
    signed = sequence(
        tlv(2, b"\1"),
        _ECDSA_SHA256,
        issuer,
        *dates,
        sequence(*entries) if revoked else b"",
        tlv(0xA0, sequence(*extensions)) if extensions else b"",
    )
    signature = signer.sign(signed, ec.ECDSA(hashes.SHA256()))
    return sequence(signed, _ECDSA_SHA256, tlv(3, b"\0" + signature))


def scope(*parts: tuple[int, bytes]) -> bytes:
    """Return an issuing distribution point (RFC 5280, section 5.2.5)."""
    return extension("551d1c", sequence(*(tlv(tag, value) for tag, value in parts)), critical=True)


URL: Final = tlv(0x86, b"http://ca.example/1.crl")

LISTS: Final[Mapping[str, tuple[str, tuple[bytes, ...]]]] = {
    "a delta list": ("delta list", (extension("551d1b", b"\2\1\1", critical=True),)),
    "a list of CAs": ("scope", (scope((0x82, b"\xff")),)),
    "a list of attribute certificates": ("scope", (scope((0x85, b"\xff")),)),
    "a list of some reasons": ("scope", (scope((0x83, b"\x06\x40")),)),
    "an indirect list": ("indirect", (scope((0x84, b"\xff")),)),
    "a list with an unknown critical extension": (
        "1.2.3.4 is not known",
        (extension("2a0304", b"\5\0", critical=True),),
    ),
    "a list with a critical number": ("2.5.29.20 is not known", (extension("551d14", b"\2\1\1", critical=True),)),
    "a list with a malformed scope": ("cannot be read", (extension("551d1c", b"\4\0", critical=True),)),
    "a list with two scopes": ("cannot be read", (scope((0x81, b"\xff")), scope((0x81, b"\xff")))),
}
"""Lists that leave revoked clients out, or that OpenSSL does not apply: what is said of them, and their extensions."""

APPLIED: Final[Mapping[str, tuple[bytes, ...]]] = {
    "no extension": (),
    "a list of users": (scope((0x81, b"\xff")),),
    "a list of one distribution point": (scope((0xA0, tlv(0xA0, URL))),),
    "an unknown extension": (extension("2a0304", b"\5\0"),),
    "a pointer to delta lists": (extension("551d2e", sequence(sequence(tlv(0xA0, tlv(0xA0, URL))))),),
}
"""Lists that are applied."""
