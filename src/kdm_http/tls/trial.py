"""A handshake in memory with files that are about to be used: a server that nobody could connect to does not start."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from kdm_http.tls.certificates import Certificate
from kdm_http.tls.verifier import SECURITY_LEVEL


class TrialFailed(Exception):
    """A client could not connect; the message says why, on one line."""


def try_server(context: ssl.SSLContext, chain: Sequence[Certificate]) -> None:
    """Connect to a server in memory, as a client that trusts what the server's chain ends in and knows no name.

    The client is done when it has verified the server; the trial does not wait for the server to verify the client.

    Args:
        context: The server's.
        chain: The certificates the server shows, its own first.

    Raises:
        TrialFailed: The handshake failed, or OpenSSL shows another certificate than the first of the chain.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    try:
        client = _client(chain[-1]).wrap_bio(to_client, to_server)
        for side in (client, server, client):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    except ssl.SSLCertVerificationError as exc:
        raise TrialFailed(exc.verify_message) from exc
    except ssl.SSLError as exc:
        raise TrialFailed((exc.reason or str(exc)).lower().replace("_", " ")) from exc
    try:
        shown = client.getpeercert(binary_form=True)
    except ValueError as exc:  # the handshake is not done
        raise TrialFailed("the handshake does not come to an end") from exc
    if shown != chain[0].der:
        raise TrialFailed("OpenSSL shows another certificate than the first")


def _client(anchor: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.set_ciphers(f"DEFAULT:{SECURITY_LEVEL}")
    context.set_alpn_protocols(["http/1.1"])
    context.load_verify_locations(cadata=anchor.der)
    return context
