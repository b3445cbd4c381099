"""SPIFFE IDs in certificates, read as the X.509-SVID specification demands.

https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE-ID.md and X509-SVID.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from kdm_http.tls.certificates import Certificate

MAX_ID_BYTES: Final = 2048
"""Longest SPIFFE ID an implementation has to support, in bytes (SPIFFE-ID, section 2.3)."""

MAX_TRUST_DOMAIN_BYTES: Final = 255
"""Longest trust domain, in bytes (SPIFFE-ID, section 2.3)."""

_SCHEME: Final = "spiffe://"
_is_trust_domain: Final = re.compile(r"[a-z0-9._-]+", re.ASCII).fullmatch
_is_segment: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII).fullmatch


def find_id(certificate: Certificate) -> str | None:
    """Return the SPIFFE ID of a leaf certificate.

    Args:
        certificate: The certificate, its signature verified elsewhere.

    Returns:
        The ID, or None where none of its URI SANs is a SPIFFE ID: then it is not an SVID, and other rules apply.

    Raises:
        ValueError: It claims to be an SVID and breaks the rules for one; the message says which.
    """
    uris = certificate.uris
    claims = [uri for uri in uris if uri.lower().startswith("spiffe:")]
    if not claims:
        return None
    if len(uris) != 1:
        raise ValueError("an X.509-SVID has exactly one URI SAN")
    _check_leaf(certificate)
    return check_id(claims[0])


def check_id(spiffe_id: str) -> str:
    """Check that a string is the SPIFFE ID of a workload.

    Returns:
        The same string.

    Raises:
        ValueError: It is not one; the message says why.
    """
    if not spiffe_id.startswith(_SCHEME):
        raise ValueError("a SPIFFE ID begins with spiffe://")
    if len(spiffe_id.encode()) > MAX_ID_BYTES:
        raise ValueError(f"a SPIFFE ID has at most {MAX_ID_BYTES} bytes")
    trust_domain, slash, path = spiffe_id[len(_SCHEME) :].partition("/")
    if len(trust_domain) > MAX_TRUST_DOMAIN_BYTES or not _is_trust_domain(trust_domain):
        raise ValueError(
            "the trust domain of a SPIFFE ID is lower-case letters, digits, '.', '-', '_', "
            f"1 to {MAX_TRUST_DOMAIN_BYTES} of them"
        )
    if not slash:
        raise ValueError("the SPIFFE ID of a leaf has a path")
    for segment in path.split("/"):
        if segment in {".", ".."} or not _is_segment(segment):
            raise ValueError("each path segment of a SPIFFE ID is letters, digits, '.', '-', '_', and not '.' or '..'")
    return spiffe_id


def _check_leaf(certificate: Certificate) -> None:
    usage = certificate.key_usage
    if usage is None:
        raise ValueError("an X.509-SVID has a key usage")
    if not usage.signs_data or usage.signs_certificates or usage.signs_lists:
        raise ValueError("an X.509-SVID of a leaf may sign data, and neither certificates nor CRLs")
