"""`kdm ui`: the page on a port of this machine, for a browser that has no client certificate."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
from typing import Final

from kdm_adapters.remote.access import Access, InvalidAccess
from kdm_adapters.remote.transport import Transport
from kdm_cli.exits import Exit
from kdm_cli.loopback import OPEN, Gate, Loopback, server_of
from kdm_http.page.files import page

HOST: Final = "127.0.0.1"


def show(access: Access, *, name: str = "", port: int = 0) -> int:
    """Serve the page until a signal ends it.

    Args:
        access: How kdm is reached.
        name: What the page calls this kdm; empty for the host of its URL.
        port: The port on 127.0.0.1; 0 for a free one.

    Returns:
        The exit code; see :func:`kdm_cli.main.main`.
    """
    try:
        host = access.address().host
        access.tls_context()  # what is wrong with a file is said now
        upstream = Transport(access, "kdm-ui")
    except InvalidAccess as error:
        return _fail(str(error), Exit.USAGE)
    try:
        listening = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        return _fail(f"cannot listen on {HOST}:{port}: {error}", Exit.OTHER)
    port = listening.getsockname()[1]
    gate = Gate(port)
    app = Loopback(gate, page(name or host), upstream)
    # Never an argument of another program, such as a browser's: the token would be in the list of processes.
    print(f"kdm ui shows {access.server} on this machine. Open, once:\n\n  http://{HOST}:{port}{OPEN}{gate.token}\n")
    print("Whoever has this address may do what your certificate may. Press Ctrl-C to stop.", flush=True)

    async def serve() -> None:
        try:
            await server_of(app).serve(sockets=[listening])
        finally:
            await upstream.aclose()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
    return 0


def _fail(message: str, code: int) -> int:
    print(f"kdm: {message}", file=sys.stderr)
    return code
