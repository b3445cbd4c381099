"""What goes wrong on the way to a kdm, in one line that says what to do."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from kdm_adapters.remote.access import Access
from kdm_core.errors import ClusterTimeout, ClusterUnreachable, KdmError


class Unreachable(ClusterUnreachable):
    """The kdm could not be reached. Nothing was written, and the same call may succeed later."""


class Untrusted(Unreachable):
    """The server's certificate is not one to trust for this address. Trying again does not help."""

    retryable = False


class NotAccepted(Unreachable):
    """The server does not accept the client certificate, or this program's TLS. Trying again does not help."""

    retryable = False


class Misdirected(Unreachable):
    """There is no such host, or something else than TLS answers there. Trying again does not help."""

    retryable = False


class AnswerLost(ClusterTimeout):
    """The connection ended, or time was up, after the request was sent. Unless it was a read, it may have happened."""


# X509_V_ERR_* of OpenSSL's x509_vfy.h, which are part of its stable interface.
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNKNOWN_CA: Final = frozenset({2, 18, 19, 20, 21})
_WRONG_NAME: Final = frozenset({62, 64})

_ALERTS: Final = {
    "CERTIFICATE_REQUIRED": "it wants a client certificate",
    "CERTIFICATE_EXPIRED": "the client certificate has expired",
    "CERTIFICATE_REVOKED": "the client certificate has been revoked",
    "UNKNOWN_CA": "the client certificate is not from a CA that the server trusts",
    "BAD_CERTIFICATE": "the client certificate is not one that the server accepts",
    "UNSUPPORTED_CERTIFICATE": "the client certificate is not meant for clients",
    "CERTIFICATE_UNKNOWN": "the client certificate is not one that the server accepts",
    "ACCESS_DENIED": "the client certificate is good, but its owner may not connect",
}
"""What a server says of a client certificate (RFC 8446, section 6.2), by the end of OpenSSL's name for it."""


def of_connecting(error: OSError, access: Access, where: str, timeout_s: float) -> KdmError:
    """Return the error that a connection is that did not come about. Nothing was sent.

    Args:
        error: What happened.
        access: How the kdm was to be reached.
        where: The host and port that were connected to.
        timeout_s: How long it might have taken, in seconds.
    """
    if isinstance(error, ssl.SSLError):
        return _of_tls(error, access, where)
    if isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN:
        return Misdirected(f"there is no host of this name: {where}; is the server's URL right?")
    return Unreachable(_of_network(error, access, where, timeout_s))


def _of_network(error: OSError, access: Access, where: str, timeout_s: float) -> str:  # noqa: PLR0911 - a table
    """Return what happened before TLS began, and what to do."""
    tunnel = str(error).partition("Tunnel connection failed: ")[2]  # of http.client
    match error:
        case socket.gaierror():
            return f"the host of {where} cannot be resolved now: is the network, or its DNS, down?"
        case TimeoutError():
            return (
                f"{where} does not answer: no connection within {timeout_s:g} s; is it the right address, and does a "
                "firewall let this machine through?"
            )
        case ConnectionRefusedError():
            return f"nothing listens at {where}: is kdm running there, and is the port right?"
        case ConnectionError():
            return f"{where} closed the connection before it was established: {_hint(access)}"
        case _ if tunnel:
            return f"{where} does not connect to the server: {tunnel[:100]}"
        case _ if error.errno in {errno.ENETUNREACH, errno.EHOSTUNREACH}:
            return f"there is no route to {where}: is this machine on the right network?"
    return f"{where} cannot be reached: {os.strerror(error.errno) if error.errno else 'no reason is known'}"


def of_asking(error: BaseException, access: Access, where: str, *, read: bool) -> KdmError:
    """Return the error that a connection is that ended before the answer.

    In TLS 1.3 a server judges the client certificate after the client has begun to send: its alert comes here.

    Args:
        error: What happened.
        access: How the kdm was reached.
        where: The host and port that were connected to.
        read: Whether the request could write nothing.
    """
    if isinstance(error, ssl.SSLError) and "_ALERT_" in (error.reason or ""):
        return _of_tls(error, access, where)
    if isinstance(error, TimeoutError):
        happened = f"{where} did not answer in time"
    else:
        happened = f"{where} closed the connection before it answered"
    if not read:
        return AnswerLost(f"{happened}; the write may have happened: read before trying again")
    if not isinstance(error, TimeoutError):
        return Unreachable(f"{happened}: try again")
    late: KdmError = AnswerLost(f"{happened}: try again")
    late.written = False
    return late


def no_stream() -> KdmError:
    """Return the error that an answer is that should have been a stream."""
    return Misdirected("the answer is not kdm's: it is no stream of events; is the server's URL that of a kdm?")


def _of_tls(error: ssl.SSLError, access: Access, where: str) -> KdmError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_verification(error, access, where)
    reason = error.reason or ""
    _, _, alert = reason.partition("_ALERT_")
    if alert in _ALERTS:
        return NotAccepted(f"{where} turned this client away: {_ALERTS[alert]}; {_hint(access)}")
    if alert or reason in ("UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"):
        words = (alert or reason).lower().replace("_", " ")
        return NotAccepted(f"{where} and this client have no TLS in common ({words})")
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Unreachable(f"{where} closed the connection during the TLS handshake: is that kdm's port?")
    return Misdirected(f"{where} does not speak TLS: is that the port of kdm's API?")


def _of_verification(error: ssl.SSLCertVerificationError, access: Access, where: str) -> KdmError:
    code = error.verify_code
    if code == _EXPIRED:
        return Untrusted(
            f"the certificate of {where} has expired: the server needs a new one (or this machine's clock is wrong)"
        )
    if code == _NOT_YET_VALID:
        return Untrusted(f"the certificate of {where} is not valid yet: is this machine's clock right?")
    if code in _WRONG_NAME:
        return Untrusted(
            f"the certificate of {where} is for another name: use the name in the certificate, or have one issued "
            "that has this name, too"
        )
    if code in _UNKNOWN_CA:
        trusted = "the CAs of this machine" if access.ca is None else f"the CA in {os.fspath(access.ca)}"
        return Untrusted(
            f"the certificate of {where} is not from {trusted}: name the CA file that belongs to this server"
        )
    return Untrusted(f"the certificate of {where} is not to be trusted: {error.verify_message}")


def _hint(access: Access) -> str:
    if access.cert is None:
        return "name a client certificate and its key"
    return f"is {os.fspath(access.cert)} the certificate for this server, and still valid?"
