"""What went wrong on the way to the API server, in words that anybody may read.

The texts of exceptions name hosts, addresses and proxies with their passwords. They are for the log; callers, and
whoever reads the unauthenticated port, get the kind of failure.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Final

import aiohttp

# Of X509_verify_cert (OpenSSL's x509_vfy.h).
_CERTIFICATE_PROBLEMS: Final = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}
_ERRNO_PROBLEMS: Final = {
    errno.ECONNREFUSED: "the connection was refused",
    errno.ECONNRESET: "the connection was reset",
    errno.EPIPE: "the connection was closed",
    errno.ENETUNREACH: "there is no route to it",
    errno.EHOSTUNREACH: "there is no route to it",
    errno.ETIMEDOUT: "connecting took too long",
    errno.EMFILE: "kdm has too many open files",
}


def describe(error: BaseException) -> str:
    """Return the kind of a failure, without any host, address or foreign text."""
    chain = list(_chain(error))
    for each in chain:
        if isinstance(each, aiohttp.ClientHttpProxyError):
            return f"the proxy refused the connection ({each.status})"
        if type(each) is ssl.SSLCertVerificationError:  # aiohttp's, which wraps it, is one without a code
            return _CERTIFICATE_PROBLEMS.get(each.verify_code, "its certificate is not trusted")
    through = "the proxy: " if any(_is_proxys(each) for each in chain) else ""
    for each in chain:
        if problem := _problem(each):
            return through + problem
    return f"{through}the connection failed"


def _problem(error: BaseException) -> str:  # noqa: PLR0911 - a table
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ssl.SSLError):
        return "the TLS handshake failed"
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "connecting took too long"
    if isinstance(error, OSError) and error.errno in _ERRNO_PROBLEMS:
        return _ERRNO_PROBLEMS[error.errno]
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError | aiohttp.ClientPayloadError):
        return "the connection was closed"
    if isinstance(error, aiohttp.InvalidURL):
        return "its address makes no sense"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    return ""


def _is_proxys(error: BaseException) -> bool:
    of_socks = type(error).__module__.partition(".")[0] in {"aiohttp_socks", "python_socks"}
    return of_socks or isinstance(error, aiohttp.ClientProxyConnectionError)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and what led to it."""
    seen: set[int] = set()
    pending: list[object] = [error]
    while pending:
        each = pending.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            pending += [getattr(each, "os_error", None), getattr(each, "certificate_error", None)]
            pending += [each.__cause__, each.__context__]
