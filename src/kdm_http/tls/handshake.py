"""TLS handshakes that end with an alert the client can read, and with a reason the operator can read.

By default, asyncio and uvloop drop a connection whose handshake failed before OpenSSL's alert is sent, and report
nothing (https://github.com/python/cpython/issues/98078). Here a failed handshake asks for one more read, which makes
either event loop send the alert; then the client closes, or the listener does after a moment.

kdm also refuses certificates that OpenSSL accepts (no extended key usage, no name). Python has no verification
callback, but it shows each handshake message before OpenSSL acts on it: when a refused certificate arrives, the
connection is moved to a context that rejects all its CAs, and OpenSSL itself sends ``bad_certificate``. That message
hook is private in the standard library, so only the alert depends on it: the same check is made again after the
handshake, before the first byte is served, and closes the connection there.

A client that offers only other application protocols is refused, as RFC 7301 demands. Python would agree on none
instead, but lets a callback answer the ClientHello with any alert; what the client offers is read from its bytes.
"""

from __future__ import annotations

import contextvars
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from kdm_http.tls.certificates import BadCertificate, Certificate, fingerprint
from kdm_http.tls.client_hello import ClientHello
from kdm_http.tls.peer import Peer, PeerRefused
from kdm_http.tls.rejection import Reason, explain

_CERTIFICATE: Final = 11
"""The handshake type of Certificate (RFC 8446, section 4)."""

_NO_APPLICATION_PROTOCOL: Final = 120
"""The alert (RFC 7301, section 3.2)."""

_SHOWN_PROTOCOLS: Final = 4
"""How many of a client's protocols are named in the detail of its rejection."""

_MAX_REMEMBERED: Final = 1000
"""How many clients' intermediate certificates are kept for the sessions they resume."""


@define(eq=False)
class Handshake:
    """One attempt to connect: what the client showed, and why it failed if it did.

    Attributes:
        address: Where the client connects from.
        failed: Called once, when the handshake has failed; the alert, if there is one, is about to be sent.
        shown: The DER of the client's certificate, once it has come, readable or not.
        sent: The certificates the client sent, its own first; empty where they cannot be read.
        peer: Whom the client's certificate names. Not proven before the handshake is complete.
        refusal: Why kdm refuses the client, whatever OpenSSL decides.
        unserved: The application protocols the client offers, where none of them is served.
        remembered: What a client sent when its session began, by its own certificate.
        failure: Why the handshake failed; None while it has not.
        hung_up: Called when the client, once connected, has sent close_notify: it sends nothing more, but may still
            read. The callback closes the connection; with None the event loop does, at once.
    """

    address: str
    failed: Callable[[], None] = field(default=lambda: None)
    shown: bytes = b""
    sent: tuple[Certificate, ...] = ()
    peer: Peer | None = None
    refusal: PeerRefused | None = None
    unserved: tuple[bytes, ...] = ()
    remembered: Mapping[bytes, list[bytes]] = field(factory=dict)
    failure: tuple[Reason, str] | None = None
    hung_up: Callable[[], None] | None = None

    def show(self, ders: list[bytes]) -> bool:
        """Note the certificates that a client sends, and return whether the decision can be left to OpenSSL."""
        self.shown, self.sent, self.peer, self.refusal = ders[0], (), None, None
        try:
            self.sent = tuple(map(Certificate.read, ders))
            self.peer = Peer.of(self.sent[0], self.address)
        except BadCertificate as exc:
            self.refusal = PeerRefused(Reason.MALFORMED, str(exc))
        except PeerRefused as exc:
            self.refusal = exc
        # OpenSSL itself refuses a wrong purpose, with the clearer alert unsupported_certificate.
        return self.refusal is None or self.refusal.reason is Reason.WRONG_PURPOSE

    def identify(self, der: bytes) -> Peer:
        """Return the client that a certificate names, after OpenSSL has verified it.

        Raises:
            PeerRefused: kdm refuses it.
        """
        if self.shown != der:  # a resumed session
            self.show(self.remembered.get(der, [der]))
        if self.refusal is not None or self.peer is None:
            raise self.refusal or PeerRefused(Reason.MALFORMED, "the client showed no certificate")
        return self.peer

    @property
    def subject(self) -> str:
        """The subject of the certificate the client showed, or "" where it cannot be read."""
        return self.sent[0].subject if self.sent else ""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate the client showed, in lower-case hex, or ""."""
        return fingerprint(self.shown) if self.shown else ""

    def fail(self, error: OSError) -> None:
        """Note why the handshake failed, and call ``failed``. The first reason stays."""
        if self.failure is not None:
            return
        reason, detail = explain(error)
        if self.refusal is not None and reason is Reason.UNTRUSTED:
            reason, detail = self.refusal.reason, str(self.refusal)
        elif self.unserved:
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
        if self.handshake is None:
            super().do_handshake()
            return
        if self.handshake.failure is not None:
            raise ssl.SSLWantReadError
        self._note_hello()
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as exc:
            self.handshake.fail(exc)
            raise ssl.SSLWantReadError from exc
        context = self.context
        if isinstance(context, HandshakeContext):
            context.remember(self.handshake)
            # The hook would be called for every record from now on, and nothing is verified any more: drop it.
            if context.refusing is not None:
                self.context = context.refusing

    def _note_hello(self) -> None:
        if self.hello is None:
            self.hello = ClientHello()
        if not self.hello.done and self.incoming is not None:
            came = self.incoming.read()
            self.hello.feed(came)
            self.incoming.write(came)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - the base class' name
        """Read, and report close_notify without ending the connection: it closes one way (RFC 8446, section 6.1)."""
        data = super().read(len, buffer)
        if not data and self.handshake is not None and self.handshake.hung_up is not None:
            self.handshake.hung_up()
            raise ssl.SSLWantReadError
        return data


class HandshakeContext(ssl.SSLContext):
    """A server context that watches the handshakes made with it.

    Attributes:
        refusing: A context that verifies no client at all; None where it could not be made.
        remembered: What clients sent along with their own certificates, which are the keys. A resumed session of TLS
            1.2 comes without, and lives no longer than this context.
    """

    sslobject_class = HandshakeObject
    refusing: ssl.SSLContext | None = None
    remembered: dict[bytes, list[bytes]] | None = None

    def wrap_bio(self, incoming: ssl.MemoryBIO, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection, as the base class does, and connect it with the attempt of the running task."""
        made = super().wrap_bio(incoming, *args, **kwargs)
        if isinstance(made, HandshakeObject):
            made.handshake, made.incoming = current.get(None), incoming
        return made

    def remember(self, handshake: Handshake) -> None:
        """Keep the intermediate certificates a client sent, and give the handshake those that were kept."""
        if self.remembered is None:
            self.remembered = {}
        handshake.remembered = self.remembered
        if len(handshake.sent) > 1 and self.minimum_version < ssl.TLSVersion.TLSv1_3:
            if len(self.remembered) >= _MAX_REMEMBERED:
                self.remembered.clear()
            self.remembered[handshake.shown] = [certificate.der for certificate in handshake.sent]

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

    def watch_certificates(self, refusing: ssl.SSLContext) -> None:
        """Check the certificate of each client as it arrives, and move refused clients to another context.

        Args:
            refusing: A context that rejects every client.
        """
        self.refusing = refusing
        self._msg_callback = _on_message


def _on_message(
    connection: object, direction: str, version: int, _content_type: object, message_type: int, data: bytes
) -> None:
    if direction != "read" or message_type != _CERTIFICATE or not isinstance(connection, HandshakeObject):
        return
    handshake, context = connection.handshake, connection.context
    ders = _certificates(data, has_context=version >= ssl.TLSVersion.TLSv1_3)
    if handshake is None or not ders or not isinstance(context, HandshakeContext) or context.refusing is None:
        return
    if not handshake.show(ders):
        connection.context = context.refusing


def _certificates(message: bytes, *, has_context: bool) -> list[bytes]:
    """Parse a Certificate message (RFC 8446, section 4.4.2; RFC 5246, section 7.4.2).

    Of a message that is cut short, the complete certificates are returned: OpenSSL refuses the message right after.
    """
    body = message[4:]
    if has_context:
        body = body[1 + body[0] :] if body else body
    body, found = body[3:], []
    while len(body) > 3:
        end = 3 + int.from_bytes(body[:3])
        found.append(body[3:end])
        body = body[end:]
        if has_context:
            body = body[2 + int.from_bytes(body[:2]) :]
    return found
