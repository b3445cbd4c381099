"""`kdm ui`: the page on a port of this machine, for a browser that has no client certificate."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import sys
from pathlib import Path
from typing import Final

from kdm_cli.extras import needed_for

HOST: Final = "127.0.0.1"


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "ui",
        help="show kdm's page in a browser, with your client certificate",
        allow_abbrev=False,
        description="Serve kdm's page on a port of this machine, and pass its calls on with a client certificate. "
        "The printed address works once, in one browser.",
    )
    parser.add_argument("--server", required=True, help="the URL of kdm")
    parser.add_argument("--ca", type=Path, help="certificates that kdm's own is judged by (default: the system's)")
    parser.add_argument("--cert", type=Path, required=True, help="the client certificate")
    parser.add_argument("--key", type=Path, required=True, help="its key")
    parser.add_argument("--name", default="", help="what the page calls this kdm (default: the server's host)")
    parser.add_argument("--port", type=int, default=0, help="the port on 127.0.0.1 (default: a free one)")
    parser.set_defaults(handler=_run)


def _run(arguments: argparse.Namespace) -> int:
    with needed_for("ui", "server"):
        from kdm_cli.upstream import Access  # noqa: PLC0415 - half a second, which other commands do not need
    access = Access(arguments.server.rstrip("/"), arguments.ca, arguments.cert, arguments.key)
    return show(access, name=arguments.name, port=arguments.port)


def show(access: object, *, name: str = "", port: int = 0) -> int:
    """Serve the page until a signal ends it.

    Args:
        access: How kdm is reached: a :class:`kdm_cli.upstream.Access`.
        name: What the page calls this kdm; empty for the host of its URL.
        port: The port on 127.0.0.1; 0 for a free one.

    Returns:
        The exit code; see :func:`kdm_cli.main.main`.
    """
    import httpx  # noqa: PLC0415 - as above

    from kdm_cli.loopback import OPEN, Gate, Loopback  # noqa: PLC0415
    from kdm_cli.upstream import Access, Upstream  # noqa: PLC0415
    from kdm_http.page.files import page  # noqa: PLC0415
    from kdm_http.server.uvicorn_seam import Config, Server  # noqa: PLC0415

    assert isinstance(access, Access)  # noqa: S101 - its module is not imported with this one
    url = httpx.URL(access.server)
    if url.scheme != "https" or not url.host:
        return _fail(f"--server must be an https URL, such as https://kdm.example:8443, not {access.server!r}", 2)
    try:
        upstream = Upstream(access)
    except OSError as error:
        return _fail(f"the certificates cannot be used: {error}", 1)
    try:
        listening = socket.create_server((HOST, port))
    except (OSError, OverflowError) as error:
        return _fail(f"cannot listen on {HOST}:{port}: {error}", 1)
    port = listening.getsockname()[1]
    gate = Gate(port)
    app = Loopback(gate, page(name or url.host), upstream)
    config = Config(
        app,
        lifespan="off",
        access_log=False,  # the token is in an address
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
    )
    # Never an argument of another program, such as a browser's: the token would be in the list of processes.
    print(f"kdm ui shows {access.server} on this machine. Open, once:\n\n  http://{HOST}:{port}{OPEN}{gate.token}\n")
    print("Whoever has this address may do what your certificate may. Press Ctrl-C to stop.", flush=True)

    async def serve() -> None:
        try:
            await Server(config).serve(sockets=[listening])
        finally:
            await upstream.aclose()

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve())
    return 0


def _fail(message: str, code: int) -> int:
    print(f"kdm: {message}", file=sys.stderr)
    return code
