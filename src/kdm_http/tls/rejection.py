"""Why a client was turned away, as it is reported in the log, the metrics and the audit trail."""

from __future__ import annotations

import enum
import ssl
from datetime import datetime
from typing import Final

from attrs import frozen


class Reason(enum.Enum):
    """Why a client was turned away. The values are stable: they are metric labels."""

    NO_CERTIFICATE = "no-certificate"
    UNKNOWN_CA = "unknown-ca"
    SELF_SIGNED = "self-signed"
    EXPIRED = "expired"
    NOT_YET_VALID = "not-yet-valid"
    REVOKED = "revoked"
    CRL_STALE = "crl-stale"
    CRL_MISSING = "crl-missing"
    WRONG_PURPOSE = "wrong-purpose"
    """Its extended key usage lists other purposes than clientAuth."""
    NO_PURPOSE = "no-purpose"
    """It has no extended key usage, which OpenSSL takes as any."""
    CA_AS_CLIENT = "ca-as-client"
    WEAK = "weak"
    """A key below 112 bits of security (RSA under 2048 bits), or a SHA-1 signature."""
    NO_IDENTITY = "no-identity"
    """It does not name a client: no single common name, or a malformed SPIFFE ID."""
    UNTRUSTED = "untrusted"
    """Any other failure to verify it."""
    PROTOCOL_VERSION = "protocol-version"
    NO_SHARED_PARAMETERS = "no-shared-parameters"
    """No cipher suite, group or signature algorithm in common, or no application protocol: only HTTP/1.1 is served."""
    PLAIN_HTTP = "plain-http"
    CLIENT_ALERT = "client-alert"
    """The client turned this server away: it sent an alert, usually because it does not trust the certificate."""
    MALFORMED = "malformed"
    """What it sent is not TLS, or its certificate cannot be read."""
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    """It closed before the handshake was over, as port scanners and TCP probes do."""


@frozen
class Rejection:
    """One client turned away: in the handshake, right after it, or later because its certificate is no longer good.

    Attributes:
        time: When, in UTC.
        address: Where it came from: ``host:port``, or "" where that is not known.
        reason: Why, one of a fixed set.
        detail: Why, in words.
        established: Whether the certificate was good once, and is no longer.
        user: Who it claims to be, where it showed a certificate that names a client. Proven only if ``established``.
        subject: The subject of the certificate it showed (RFC 4514), or "".
        fingerprint: SHA-256 of the certificate it showed, in lower-case hex, or "".
    """

    time: datetime
    address: str
    reason: Reason
    detail: str
    established: bool = False
    user: str = ""
    subject: str = ""
    fingerprint: str = ""


# The numbers are X509_V_ERR_* of OpenSSL's x509_vfy.h, which are part of its stable interface.
_BY_VERIFY_CODE: Final = {
    2: Reason.UNKNOWN_CA,
    3: Reason.CRL_MISSING,
    9: Reason.NOT_YET_VALID,
    10: Reason.EXPIRED,
    11: Reason.CRL_STALE,
    12: Reason.CRL_STALE,
    18: Reason.SELF_SIGNED,
    19: Reason.UNKNOWN_CA,
    20: Reason.UNKNOWN_CA,
    21: Reason.UNKNOWN_CA,
    23: Reason.REVOKED,
    26: Reason.WRONG_PURPOSE,
    66: Reason.WEAK,
    67: Reason.WEAK,
    68: Reason.WEAK,
}

_BY_SSL_REASON: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Reason.NO_CERTIFICATE,
    "UNSUPPORTED_PROTOCOL": Reason.PROTOCOL_VERSION,
    "VERSION_TOO_LOW": Reason.PROTOCOL_VERSION,
    "NO_SHARED_CIPHER": Reason.NO_SHARED_PARAMETERS,
    "NO_SUITABLE_KEY_SHARE": Reason.NO_SHARED_PARAMETERS,
    "NO_SUITABLE_SIGNATURE_ALGORITHM": Reason.NO_SHARED_PARAMETERS,
    "NO_SHARED_SIGNATURE_ALGORITHMS": Reason.NO_SHARED_PARAMETERS,
    "HTTP_REQUEST": Reason.PLAIN_HTTP,
    "HTTPS_PROXY_REQUEST": Reason.PLAIN_HTTP,
}


def explain(error: OSError) -> tuple[Reason, str]:
    """Return why a handshake failed.

    Args:
        error: What ended it: an ``ssl.SSLError``, a timeout or a lost connection.

    Returns:
        The reason, and the same in words.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _BY_VERIFY_CODE.get(error.verify_code, Reason.UNTRUSTED), error.verify_message
    if isinstance(error, ssl.SSLError):
        said = error.reason or str(error)
        if "_ALERT_" in said:
            return Reason.CLIENT_ALERT, said.partition("_ALERT_")[2].lower().replace("_", " ")
        return _BY_SSL_REASON.get(said, Reason.MALFORMED), said.lower().replace("_", " ")
    if isinstance(error, TimeoutError):
        return Reason.TIMEOUT, "the handshake took too long"
    return Reason.DISCONNECTED, "the client closed the connection during the handshake"
