"""`python -m benchmarks.handshakes`: what kdm adds to the server's part of a TLS handshake, in memory, in one process.

A plain SSLContext with the same certificate, CAs, revocation list and TLS version does the same handshakes in turns,
in blocks, and only the server's processor time counts. kdm's part ends when the client is identified.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import ssl
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from integration.edge.pki import Pki
from kdm_http.server.client import Client
from kdm_http.server.context import ListenerContext
from kdm_http.server.events import ServerEvents
from kdm_http.server.limits import ClientQuota, Limits
from kdm_http.server.uvicorn_seam import ServerState
from kdm_http.tls.certificate_files import TlsFiles
from kdm_http.tls.handshake import Handshake, HandshakeObject, current
from kdm_http.tls.reload import ServerTls

__all__ = ["Handshakes"]

BLOCK = 25
"""Handshakes in a row: one server does not evict what the other has in the processor's caches at each of them."""

Begin = Callable[[ssl.MemoryBIO, ssl.MemoryBIO], tuple[ssl.SSLObject, Callable[[], None]]]
"""Begins the server's part; returns it, and what is to be done when the handshake is complete."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Handshakes:
    """The handshakes of one client with kdm and with a plain context.

    Args:
        directory: Where their files may be.
    """

    def __init__(self, directory: Path) -> None:
        pki = Pki(directory / "handshakes")
        pki.issue("client", "on-call")
        self._client = pki.context("client")
        files = TlsFiles(*(pki.path / name for name in ("server.pem", "server-key.pem", "ca.pem", "crl.pem")))
        self._plain = _plain(files)
        events, limits = ServerEvents(), Limits()
        version = ssl.TLSVersion.TLSv1_3
        self._tls = ServerTls(files, minimum_version=version, development=False, now=_utc_now, events=events)
        quota = ClientQuota(limits, time.monotonic)
        self._context = ListenerContext("api", limits, events, _utc_now, quota, ServerState(), self._tls)

    def ratios(self, rounds: int) -> list[float]:
        """Return, for each round, the plain context's processor time for a handshake as a part of kdm's."""
        self._block(self._begin_kdm)
        self._block(self._begin_plain)
        gc.collect()
        gc.freeze()  # as kdm does once it is ready
        found = []
        for turn in range(rounds):
            order = (self._begin_kdm, self._begin_plain)
            spent = {begin: self._block(begin) for begin in (order if turn % 2 else reversed(order))}
            found.append(spent[self._begin_plain] / spent[self._begin_kdm])
        gc.unfreeze()
        return found

    def _block(self, begin: Begin) -> float:
        """Return the processor time of one handshake, in seconds."""
        return statistics.fmean(self._one(begin) for _ in range(BLOCK))

    def _one(self, begin: Begin) -> float:
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self._client.wrap_bio(to_client, to_server, server_hostname="localhost")
        _step(client)
        began = time.thread_time()
        server, complete = begin(to_server, to_client)
        _step(server)
        spent = time.thread_time() - began
        _step(client)
        began = time.thread_time()
        server.do_handshake()
        complete()
        return spent + time.thread_time() - began

    def _begin_plain(
        self, to_server: ssl.MemoryBIO, to_client: ssl.MemoryBIO
    ) -> tuple[ssl.SSLObject, Callable[[], None]]:
        return self._plain.wrap_bio(to_server, to_client, server_side=True), lambda: None

    def _begin_kdm(
        self, to_server: ssl.MemoryBIO, to_client: ssl.MemoryBIO
    ) -> tuple[ssl.SSLObject, Callable[[], None]]:
        handshake, material = Handshake("127.0.0.1:1"), self._tls.material
        token = current.set(handshake)
        server = material.context.wrap_bio(to_server, to_client, server_side=True)
        current.reset(token)

        def identify() -> None:
            assert isinstance(server, HandshakeObject)
            assert Client(self._context, handshake, material).identify(server) is None

        return server, identify


def _plain(files: TlsFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(files.client_ca)
    context.load_verify_locations(files.crl)
    context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _step(end: ssl.SSLObject) -> None:
    with contextlib.suppress(ssl.SSLWantReadError):
        end.do_handshake()


def main() -> int:
    """Measure and print the median of the ratios."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handshakes", description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="kdm-handshakes-") as directory:
        found = [1 / each for each in Handshakes(Path(directory)).ratios(rounds)]
    low, middle, high = statistics.quantiles(found, n=4)
    print(f"a handshake takes kdm {middle:.2f} times what it takes a plain SSLContext ({low:.2f}-{high:.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
