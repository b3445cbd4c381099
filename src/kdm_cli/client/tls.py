"""The command's side of mutual TLS: what it shows, whom it trusts, and what went wrong, in words."""

from __future__ import annotations

import ssl
import sys
from typing import Final

from kdm_cli.contexts import Context
from kdm_cli.exits import CommandError, Exit

_UNKNOWN_CA: Final = frozenset({2, 18, 19, 20, 21, 24})
"""OpenSSL's verify codes (x509_vfy.h) for a chain that leads to no CA that is trusted."""

_EXPIRED: Final = 10
_NOT_YET: Final = 9
_WRONG_HOST: Final = frozenset({62, 64})

_REFUSALS: Final = {
    "CERTIFICATE_EXPIRED": "it has expired: renew it (kdm certs renew)",
    "CERTIFICATE_REVOKED": "it is revoked: ask for another one",
    "UNKNOWN_CA": "it is not from a CA that this kdm trusts: use another context, or have one issued",
    "CERTIFICATE_REQUIRED": "kdm wants one, and got none",
    "CERTIFICATE_UNKNOWN": "kdm does not accept it",
    "BAD_CERTIFICATE": "kdm does not accept it",
    "UNSUPPORTED_CERTIFICATE": "it is not for clients: have one issued with --client",
    "ACCESS_DENIED": "kdm does not accept it",
}
"""TLS' alerts (RFC 8446, section 6.2) about a client's certificate, and what to do."""


def client_context(context: Context) -> ssl.SSLContext:
    """Return what a connection of a context needs of TLS.

    Raises:
        CommandError: A file cannot be read or is not what it should be.
    """
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    tls.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        tls.load_verify_locations(cafile=str(context.ca))
    except OSError as error:  # an SSLError is one
        raise CommandError(f"the CA certificate {context.ca}: {_why(error)}", Exit.USAGE) from error
    for path in (context.cert, context.key):
        try:
            path.open("rb").close()
        except OSError as error:
            raise CommandError(f"the client certificate {path}: {error.strerror}", Exit.USAGE) from error
    try:
        tls.load_cert_chain(context.cert, context.key, lambda: _passphrase(context))
    except (OSError, ValueError) as error:
        what = f"the client certificate {context.cert} and its key {context.key}"
        raise CommandError(f"{what}: {_why(error)}", Exit.USAGE) from error
    return tls


def explained(error: ssl.SSLError, context: Context) -> CommandError:
    """Say what was wrong with a handshake, and what to do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return CommandError(_of_server(error, context))
    reason = (error.reason or "").upper()
    for alert, text in _REFUSALS.items():
        if reason.endswith(alert) and "ALERT" in reason:
            return CommandError(f"{context.server} refuses the client certificate {context.cert}: {text}", Exit.DENIED)
    if "WRONG_VERSION_NUMBER" in reason or "HTTP_REQUEST" in reason:
        return CommandError(f"{context.server} does not speak TLS: is this the port of the API?")
    return CommandError(f"{context.server}: TLS failed: {_why(error)}", Exit.UNAVAILABLE)


def _of_server(error: ssl.SSLCertVerificationError, context: Context) -> str:
    code = error.verify_code
    if code in _UNKNOWN_CA:
        why = f"is not from the CA in {context.ca}: give the CA that issued it (--ca, or kdm context add)"
    elif code == _EXPIRED:
        why = "has expired: whoever runs this kdm has to renew it"
    elif code == _NOT_YET:
        why = "is not valid yet: is this machine's clock right?"
    elif code in _WRONG_HOST:
        host = context.server.removeprefix("https://")
        why = f"has another name than {host}: use a name that it has, or have one issued with --san"
    else:
        why = f"is not accepted: {error.verify_message}"
    return f"the certificate of {context.server} {why}"


def _passphrase(context: Context) -> str:
    if not sys.stdin.isatty():
        raise ValueError("the key needs a passphrase, and there is no terminal to ask for it")
    from getpass import getpass  # noqa: PLC0415 - few keys need it

    return getpass(f"Passphrase of {context.key}: ")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        reasons = {
            "KEY_VALUES_MISMATCH": "the key does not fit the certificate",
            "NO_START_LINE": "not PEM",
            "NO_CERTIFICATE_OR_CRL_FOUND": "no certificate in it",
            "PEM_LIB": "not PEM, or damaged",
        }
        reason = error.reason or ""
        return reasons.get(reason, reason.lower().replace("_", " ") or str(error))
    return (error.strerror if isinstance(error, OSError) else "") or str(error)
