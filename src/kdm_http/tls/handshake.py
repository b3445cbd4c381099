"""TLS handshakes that end with an alert the client can read, and with a reason the operator can read.

By default, asyncio and uvloop drop a connection whose handshake failed before OpenSSL's alert is sent, and report
nothing (https://github.com/python/cpython/issues/98078). Here a failed handshake asks for one more read, which makes
either event loop send the alert; then the client closes, or the listener does after a moment.

A client that offers only other application protocols is refused, as RFC 7301 demands. Python would agree on none
instead, but lets a callback answer the ClientHello with any alert; what the client offers is read from its bytes.
"""

from __future__ import annotations

import contextvars
import ssl
import sys
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field

from kdm_http.tls.client_hello import ClientHello
from kdm_http.tls.rejection import Reason, explain

_NO_APPLICATION_PROTOCOL: Final = 120
"""The alert (RFC 7301, section 3.2)."""

_SHOWN_PROTOCOLS: Final = 4
"""How many of a client's protocols are named in the detail of its rejection."""


@define(eq=False)
class Handshake:
    """One attempt to connect: where it came from, and why it failed if it did.

    Attributes:
        address: Where the client connects from.
        failed: Called once, when the handshake has failed; the alert, if there is one, is about to be sent.
        refused: The DER of the certificate that OpenSSL refused; b"" where none got as far as that.
        unserved: The application protocols the client offers, where none of them is served.
        failure: Why the handshake failed; None while it has not.
        hung_up: Called when the client, once connected, has sent close_notify: it sends nothing more, but may still
            read. The callback closes the connection; with None the event loop does, at once.
    """

    address: str
    failed: Callable[[], None] = field(default=lambda: None)
    refused: bytes = b""
    unserved: tuple[bytes, ...] = ()
    failure: tuple[Reason, str] | None = None
    hung_up: Callable[[], None] | None = None

    def fail(self, error: OSError) -> None:
        """Note why the handshake failed, and call ``failed``. The first reason stays."""
        if self.failure is not None:
            return
        reason, detail = explain(error)
        if self.unserved:
            offered = ", ".join(ascii(name.decode("latin-1")) for name in self.unserved[:_SHOWN_PROTOCOLS])
            reason, detail = Reason.NO_SHARED_PARAMETERS, f"the client offers only {offered} (ALPN)"
        self.failure = (reason, detail)
        self.failed()


current: Final[contextvars.ContextVar[Handshake]] = contextvars.ContextVar("kdm_handshake")
"""The attempt of the running task. Both event loops wrap a socket in the task that hands it to them."""


class HandshakeObject(ssl.SSLObject):
    """The server's end of one TLS connection, which sends its alert before it gives up."""

    handshake: Handshake | None = None
    incoming: ssl.MemoryBIO | None = None
    hello: ClientHello | None = None

    def do_handshake(self) -> None:
        """Continue the handshake; after a failure, ignore what the client sends until it closes."""
        handshake, hello, incoming = self.handshake, self.hello, self.incoming
        if handshake is None or hello is None or incoming is None:
            super().do_handshake()
            return
        if handshake.failure is not None:
            raise ssl.SSLWantReadError
        if not hello.done and incoming.pending:
            came = incoming.read()
            hello.feed(came)
            incoming.write(came)
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as exc:
            handshake.refused = next(iter(self.get_verified_chain()), b"")
            handshake.fail(exc)
            raise ssl.SSLWantReadError from exc

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - the base class' name
        """Read, and report close_notify without ending the connection: it closes one way (RFC 8446, section 6.1)."""
        data = super().read(len, buffer)
        if not data and self.handshake is not None and self.handshake.hung_up is not None:
            self.handshake.hung_up()
            raise ssl.SSLWantReadError
        return data

    def getpeercert(self, binary_form: bool = False) -> Any:
        """Return the client's certificate, but not as a dictionary: event loops ask for one that nobody reads."""
        return super().getpeercert(True) if binary_form else {}

    if sys.version_info < (3, 13):  # public from there on

        def get_unverified_chain(self) -> list[bytes]:
            """Return the DER of the certificates the client sent, its own first."""
            return _encoded(self._sslobj.get_unverified_chain())  # type: ignore[attr-defined]

        def get_verified_chain(self) -> list[bytes]:
            """Return the DER of the chain that was verified, or was not good, the client's own first."""
            return _encoded(self._sslobj.get_verified_chain())  # type: ignore[attr-defined]


def _encoded(chain: Any) -> list[bytes]:
    return [each.public_bytes(_DER) for each in chain or ()]


_DER: Final = 2
"""The encoding's number in Python's ``_ssl``."""


class HandshakeContext(ssl.SSLContext):
    """A server context that watches the handshakes made with it."""

    sslobject_class = HandshakeObject

    def wrap_bio(self, incoming: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection, as the base class does, and connect it with the attempt of the running task."""
        made = super().wrap_bio(incoming, *args, **kwargs)
        if isinstance(made, HandshakeObject):
            made.handshake, made.incoming, made.hello = current.get(None), incoming, ClientHello()
        return made

    def serve_protocol(self, name: str) -> None:
        """Serve clients that offer this application protocol, or none, and refuse the others (RFC 7301).

        Args:
            name: The protocol, such as "http/1.1".
        """
        served = name.encode()

        def on_hello(connection: object, _server_name: str | None, _context: ssl.SSLContext) -> int | None:
            if not isinstance(connection, HandshakeObject) or connection.handshake is None:
                return None
            offered = connection.hello.protocols if connection.hello else None
            if offered is None or served in offered:
                return None
            connection.handshake.unserved = offered
            return _NO_APPLICATION_PROTOCOL

        self.set_alpn_protocols([name])
        self.sni_callback = on_hello
