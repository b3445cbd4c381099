"""TLS handshakes that end with an alert the client can read, and with a reason the operator can read.

Left alone, asyncio and uvloop drop a connection whose handshake failed before OpenSSL's alert is sent, and tell nobody
(https://github.com/python/cpython/issues/98078). Here a failed handshake asks for one more read, which makes either
event loop send what OpenSSL has to say; the client then closes, or the listener does, after a moment.

A certificate can also be refused by code, for what OpenSSL tolerates (no extended key usage, nobody named). Python has
no verification callback, but it shows each handshake message before OpenSSL acts on it: when a refused certificate
passes by, the connection is moved to a context that rejects all its CAs, and OpenSSL sends ``bad_certificate`` by
itself. That message hook is private in the standard library, so nothing rests on it but the alert: the same check is
made again after the handshake, before the first byte is served, and closes the connection there.
"""

from __future__ import annotations

import contextvars
import ssl
from collections.abc import Callable
from typing import Any, Final

from attrs import define, field
from cryptography import x509

from kdm_http.peer import Peer, PeerRefused
from kdm_http.rejection import Reason, explain

_CERTIFICATE: Final = 11
"""The handshake type of Certificate (RFC 8446, section 4)."""


@define(eq=False)
class Handshake:
    """One attempt to connect: what the client showed, and why it failed if it did.

    Attributes:
        address: Where the client connects from.
        failed: Called once, when the handshake has failed; the alert, if there is one, is about to be sent.
        peer: The client its certificate names, once shown. Not proven before the handshake is complete.
        sent: The certificates the client sent, its own first.
        failure: Why the handshake failed; None while it has not.
        hung_up: Called when the client, once connected, has sent close_notify: it will send no more, but may still
            read. Whoever sets it closes the connection; None leaves that to the event loop, which closes at once.
    """

    address: str
    failed: Callable[[], None] = field(default=lambda: None)
    peer: Peer | None = None
    sent: tuple[x509.Certificate, ...] = ()
    failure: tuple[Reason, str] | None = None
    refusal: PeerRefused | None = None
    hung_up: Callable[[], None] | None = None

    def show(self, ders: list[bytes]) -> bool:
        """Take note of the certificates a client sends, and return whether OpenSSL can be left to judge them."""
        try:
            self.sent = tuple(x509.load_der_x509_certificate(der) for der in ders)
            self.peer = Peer.from_der(ders[0], self.address)
        except PeerRefused as exc:
            self.refusal = exc
        except ValueError:
            self.refusal = PeerRefused(Reason.MALFORMED, "the client sent a malformed certificate")
        # A wrong purpose OpenSSL refuses by itself, with the more telling unsupported_certificate.
        return self.refusal is None or self.refusal.reason is Reason.WRONG_PURPOSE

    def fail(self, error: OSError) -> None:
        """Take note of why the handshake failed, and tell. The first reason stays."""
        if self.failure is not None:
            return
        reason, detail = explain(error)
        if self.refusal is not None and reason is Reason.UNTRUSTED:
            reason, detail = self.refusal.reason, str(self.refusal)
        self.failure = (reason, detail)
        self.failed()


current: Final[contextvars.ContextVar[Handshake]] = contextvars.ContextVar("kdm_handshake")
"""The attempt that the running task serves. Both event loops wrap a socket in the task that hands it to them."""


class HandshakeObject(ssl.SSLObject):
    """The server's end of one TLS connection, which sends its alert before it gives up."""

    handshake: Handshake | None = None

    def do_handshake(self) -> None:
        """Go on with the handshake; after a failure, swallow what the client sends until it closes."""
        if self.handshake is None:
            super().do_handshake()
            return
        if self.handshake.failure is not None:
            raise ssl.SSLWantReadError
        try:
            super().do_handshake()
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as exc:
            self.handshake.fail(exc)
            raise ssl.SSLWantReadError from exc
        # The hook would be called for every record from now on. Nothing is verified any more: leave it behind.
        if isinstance(self.context, HandshakeContext) and self.context.refusing is not None:
            self.context = self.context.refusing

    def read(self, len: int = 1024, buffer: Any = None) -> Any:  # noqa: A002 - the base class' name
        """Read, and pass on close_notify without ending the connection: RFC 8446, section 6.1, closes one direction."""
        data = super().read(len, buffer)
        if not data and self.handshake is not None and self.handshake.hung_up is not None:
            self.handshake.hung_up()
            raise ssl.SSLWantReadError
        return data


class HandshakeContext(ssl.SSLContext):
    """A server context that watches the handshakes made with it.

    Attributes:
        refusing: A context that verifies no client at all; None where it could not be made.
    """

    sslobject_class = HandshakeObject
    refusing: ssl.SSLContext | None = None

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a connection, as the base class does, and tie it to the attempt of the running task."""
        made = super().wrap_bio(*args, **kwargs)
        if isinstance(made, HandshakeObject):
            made.handshake = current.get(None)
        return made

    def watch_certificates(self, refusing: ssl.SSLContext) -> None:
        """Judge the certificate of each client as it arrives, and move refused ones to another context.

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
    """Take a Certificate message apart (RFC 8446, section 4.4.2; RFC 5246, section 7.4.2).

    What is cut short yields what was whole: OpenSSL refuses the message right after.
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
