"""Runs an ASGI application on uvicorn with what kdm's edge has: uvloop, httptools, TLS 1.3, client certificates."""

from __future__ import annotations

import argparse
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

__all__ = ["context", "parser", "serve"]


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser that knows what `serve` needs."""
    made = argparse.ArgumentParser(description=description)
    for option in ("--cert", "--key", "--client-ca"):
        made.add_argument(option, type=Path, required=True)
    made.add_argument("--client-crl", type=Path, help="without one, nobody is revoked")
    return made


def context(arguments: argparse.Namespace) -> ssl.SSLContext:
    """Make the TLS that all services have, of what `parser` read."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    made.num_tickets = 0
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_cert_chain(arguments.cert, arguments.key)
    made.load_verify_locations(arguments.client_ca)
    if arguments.client_crl:
        made.load_verify_locations(arguments.client_crl)
        made.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return made


def serve(app: Callable[..., Any], arguments: argparse.Namespace) -> None:
    """Serve on a free loopback port until SIGTERM; print the URL as soon as connections are accepted."""
    config = uvicorn.Config(
        app,
        port=0,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        ssl_certfile=str(arguments.cert),
        ssl_context_factory=lambda _config, _default: context(arguments),
    )
    _Announcing(config).run()


class _Announcing(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            print(f"https://{host}:{port}", flush=True)
