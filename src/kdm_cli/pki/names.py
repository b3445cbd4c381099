"""The names in a certificate: its subject and its subject alternative names."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from kdm_cli.pki.errors import PkiError
from kdm_http.tls import spiffe

_LABEL: Final = r"[A-Za-z0-9_](?:[-A-Za-z0-9_]{0,61}[A-Za-z0-9_])?"
# A last label of digits alone makes a broken IPv4 address, which no client would look up (RFC 1123, section 2.1).
_is_dns_name: Final = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}", re.ASCII).fullmatch


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


def make_subject(name: str, organizations: Iterable[str]) -> x509.Name:
    """Make a subject of organizations and a common name.

    Raises:
        PkiError: One of them is empty, too long, or has characters that cannot be printed.
    """
    pairs = [(NameOID.ORGANIZATION_NAME, each) for each in organizations] + [(NameOID.COMMON_NAME, name)]
    for _, value in pairs:
        if not value or not value.isprintable() or value != value.strip() or len(value) > 64:
            raise PkiError(f"bad name {value!r}: expected 1 to 64 printable characters")
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in pairs])


def folded(name: x509.Name) -> list[list[tuple[str, str]]]:
    """Return a name as OpenSSL compares it: without regard to case and the number of spaces (RFC 5280, section 7.1)."""
    return [[(each.oid.dotted_string, fold(str(each.value))) for each in rdn] for rdn in name.rdns]


def fold(text: str) -> str:
    """Return a text without regard to case and the number of spaces."""
    return " ".join(text.split()).casefold()
