"""HTTP/1.1 on one connection: uvicorn's protocol, composed with what it lacks.

Each concern is a part that knows nothing of the others:

- ``client``: who the client is, and whether that still holds
- ``deadlines``: how long the connection may wait
- ``header_budget``: how large a header may be
- ``plain_reads``: what is answered without the application
- ``known_requests``: what is answered again without being parsed
- ``http_cycles``: what is under way, and where an error finds its place
- ``leaving``: how the connection ends in good order
- ``endless``: how a response without an end learns of it
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from kdm_http.request_id import request_id_of
from kdm_http.server.client import Client
from kdm_http.server.context import ListenerContext
from kdm_http.server.deadlines import Deadlines, OneShot, Phase
from kdm_http.server.endless import Endless
from kdm_http.server.header_budget import HeaderBudget
from kdm_http.server.http_cycles import HttpCycles, Place
from kdm_http.server.known_requests import KnownRequests
from kdm_http.server.leaving import Leaving
from kdm_http.server.plain_reads import FRAMING, is_plain, to_wire
from kdm_http.server.request_head import MALFORMED, BadHead, check, check_request_line
from kdm_http.server.responses import Refusal, body_too_slow, closing_unless_read, header_too_large, header_too_slow
from kdm_http.server.uvicorn_seam import ASGI3Application, Config, RequestResponseCycle, ServerState, UvicornConnection
from kdm_http.tls.context import Material
from kdm_http.tls.handshake import Handshake
from kdm_http.tls.rejection import Rejection

_BLANK: Final = ord(" ")
_IDLE, _HEADER, _BODY, _RESPONSE = Phase


class Connection(UvicornConnection):
    """One connection. ``scope["state"]["peer"]`` of its requests is the ``Peer``, on a TLS listener."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        context: ListenerContext,
        handshake: Handshake,
        material: Material | None = None,
    ) -> None:
        """Serve a connection.

        Args:
            config: uvicorn's.
            server_state: uvicorn's.
            app_state: The initial content of each request's ``scope["state"]``.
            context: What the listener's connections have in common.
            handshake: What is known of the client so far.
            material: What OpenSSL verified the client by; None on a plain listener.
        """
        super().__init__(config, server_state, app_state, _loop)
        limits = context.limits
        self.finished = False
        self._context = context
        self._handshake = handshake
        self._application: ASGI3Application = self.app
        self._client = Client(context, handshake, material)
        self._deadlines = Deadlines(self.loop, context.allowed_s, self._expire)
        self._unread = OneShot(self.loop)
        self._budget = HeaderBudget(limits.header_bytes, limits.header_fields)
        self._known = KnownRequests(context, self._client)
        self._cycles = HttpCycles(self)
        self._endless = Endless(self.loop, self)
        ends = {"age_s": limits.connection_age_s, "request_s": limits.request_s, "grace_s": limits.grace_s}
        self._leaving = Leaving(self.loop, self, self._endless, **ends)
        self._opened = self._hung_up = self._answered = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Identify the client, and wait for a request."""
        super().connection_made(transport)
        context, client = self._context, self._client
        context.emptied.clear()
        if context.tls is not None and (rejection := client.identify(transport.get_extra_info("ssl_object"))):
            context.reject(rejection)
        self._opened = True
        self._handshake.hung_up = self._on_close_notify
        context.events.connection_opened(context.name, client.peer)
        if client.peer is not None:
            self.app_state = {**self.app_state, "peer": client.peer, "endless": self._endless}
            client.join()
            self._known.join()
        self._leaving.open()
        self._deadlines.enter(_IDLE)
        if context.tls is not None and client.share is None:  # all it can get is an error
            self._deadlines.hurry(context.limits.header_s)
        if context.draining:
            self.shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything."""
        self._cycles.disconnect()
        super().connection_lost(exc)
        self.finished = True
        self._handshake.hung_up = None
        for timer in (self._deadlines, self._leaving, self._unread, self._endless):
            timer.cancel()
        self._known.leave()
        self._client.leave()
        if self._opened:
            self._context.events.connection_closed(self._context.name)
        if not self.connections:
            self._context.emptied.set()

    def revalidate(self) -> None:
        """Check the client again, and close the connection if it is refused."""
        if not self.finished and (rejection := self._client.revalidate()):
            self._reject(rejection)

    def _reject(self, rejection: Rejection) -> None:
        self._context.reject(rejection)
        self.finished = True
        if not self._cycles.queued and self._endless.end(f"certificate-{rejection.reason.value}"):
            self.finish_with_response()
        else:
            self.abort() if self.busy else self.transport.close()

    def pause_writing(self) -> None:
        """Give a client that does not read a while to read again."""
        super().pause_writing()
        self._unread.start(self._context.limits.write_s, self.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        self._unread.cancel()
        self._go_on()

    # The end

    @property
    def busy(self) -> bool:
        """Whether a response is still due, or still being taken by the client."""
        return self._cycles.due or self.flow.write_paused

    @property
    def idle(self) -> bool:
        """Whether no byte of a next request has come."""
        return self._deadlines.phase is _IDLE

    def finish(self) -> None:
        """Close the connection, after what is written has been sent."""
        self.finished = True
        self.transport.close()

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def shutdown(self) -> None:
        """Begin a graceful end: see ``leaving``."""
        self._leaving.begin()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's returns None, which closes at once
        """End a plain connection whose client sends no more: what it asked for is answered first."""
        self._hang_up()
        return self._context.tls is None  # with TLS the transport closes itself

    def _on_close_notify(self) -> None:
        # It is read before the requests that came with it are passed on.
        if not self._hung_up:
            self._hung_up = True
            self.loop.call_soon(self._hang_up)

    def _hang_up(self) -> None:
        self._leaving.hang_up(half_a_body=self._deadlines.phase is _BODY and not self._cycles.queued)

    # Requests

    def data_received(self, data: bytes) -> None:
        """Answer a request that is known; parse the others, within the limits of a header."""
        if self.finished:
            return
        budget, deadlines = self._budget, self._deadlines
        was_idle = deadlines.phase is _IDLE
        if was_idle and not self.flow.write_paused and not self._leaving.begun and (again := self._known.answer(data)):
            self.transport.write(again)
            deadlines.enter(_IDLE)
            return
        budget.begin_piece(data)
        super().data_received(data)
        if not budget.end_piece(deadlines.phase is _HEADER, was_idle):
            self.on_parse_error()
        self._known.note_one(data, whole=was_idle and deadlines.phase is _IDLE and budget.messages == 1)

    def on_message_begin(self) -> None:
        """Begin a request. uvicorn makes its scope now; here ``call`` does."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._budget.begin_message()
        self._deadlines.enter(_HEADER)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header field."""
        if self._deadlines.phase is not _HEADER:  # RFC 9110, section 6.5.1: a trailer field does not join the header
            self._budget.add_trailer(name, value)
            return
        name = name.lower()
        if value and value[-1] <= _BLANK:  # RFC 9112, section 5.1: not a part of it; the parser leaves it at the end
            value = value.rstrip(b" \t")
        if name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check the client and the header, and answer the request, give it to the application, or refuse it."""
        self.revalidate()
        self.finished |= self.transport.is_closing()  # RFC 9112, section 9.6: after the last response nothing is served
        if self.finished:
            return
        self._budget.check(self.url, self.headers)
        self._deadlines.phase = _BODY  # its time starts in _call: what is answered at once waits for no body
        refusal = self._client.over_quota()
        if refusal is None:
            version, method = self.parser.get_http_version(), self.parser.get_method()
            try:
                check_request_line(method, self.url, version, self._budget.piece)
                if self._answer_at_once(method, version):
                    return
                self.url = check(method, self.url, version, self.headers)
            except BadHead as bad:
                refusal = Refusal(bad.status, str(bad), close=True)
            else:
                # RFC 9110, section 10.1.1: HTTP/1.0 does not know it, and it is about a body
                expected = version == "1.1" and any(name in FRAMING for name, _ in self.headers)
                self.expect_100_continue &= expected
        if refusal is None:
            self._call(self._application)
        else:
            self._refuse(refusal)

    def _answer_at_once(self, method: bytes, version: str) -> bool:
        """Answer without the application, if that can be, and return whether it was done."""
        answer_at_once, peer = self._context.answer_at_once, self._client.peer
        # One for each piece of data, so that a client that does not read is noticed.
        may = self._budget.messages <= 1 and self.parser.should_keep_alive() and not (self._leaving.begun or self.busy)
        if answer_at_once is None or peer is None or not may or not is_plain(method, version, self.headers):
            return False
        if (ready := answer_at_once(method, self.url, self.headers, peer)) is None:
            return False
        self._answered = True
        self._known.answered(b"%b %b HTTP/%b" % (method, self.url, version.encode()), ready)
        self.transport.writelines(to_wire(ready, method, self._context.default_head))
        return True

    def _call(self, app: ASGI3Application) -> None:
        """Have an application answer."""
        self._deadlines.enter(_BODY)
        self.call(closing_unless_read(app) if self.expect_100_continue else app)
        if self._leaving.begun or self.parser.should_upgrade():
            # No upgrade is offered, and the parser does not look past a request that asks for one.
            self.cycle.keep_alive = False

    def _refuse(self, refusal: Refusal) -> None:
        """Answer this request, when it is its turn, with an error."""
        self._context.refused(refusal.status, refusal.message, self._client.peer)
        self.url = b"/"  # the one that came may not be a target at all
        self.expect_100_continue &= not refusal.close  # it says so itself
        self._call(refusal.answer)
        if refusal.close:
            self._deadlines.enter(_RESPONSE)
            self.finished = True  # what follows is ignored

    def on_application_start(self, cycle: RequestResponseCycle) -> None:
        """Note whose turn it is."""
        self._cycles.started(cycle)

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        if not self.finished:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """End a request: the next one may begin."""
        if self.finished:
            return
        if self._answered:
            self._answered = False
            self._deadlines.enter(_IDLE)
            return
        super().on_message_complete()
        self._deadlines.enter(_RESPONSE if self.busy else _IDLE)

    def on_response_complete(self) -> None:
        """Go on with the next request, or wait for one."""
        super().on_response_complete()
        if (last := self._cycles.take_last()) is not None:
            self._write_last(last)
        self._go_on()

    def _go_on(self) -> None:
        self._leaving.continue_if_done()
        if self._deadlines.phase is _RESPONSE and not self.busy and not self.finished:
            self._deadlines.enter(_IDLE)

    # Errors that end the connection

    def on_parse_error(self) -> None:
        """Answer what is not HTTP, or too much of it, and close."""
        if self._budget.exceeded:
            self._end_with(header_too_large(self._context.limits))
        else:
            self._end_with(Refusal(400, MALFORMED, close=True))

    def _expire(self, phase: Phase) -> None:
        if phase is _IDLE:
            self.finish()
        elif phase is _BODY:
            self._end_with(body_too_slow(self._context.limits))
        elif self.busy:
            # Reading is paused until the response before this request is written.
            self._deadlines.enter(_HEADER)
        else:
            self._end_with(header_too_slow(self._context.limits))

    def _end_with(self, refusal: Refusal) -> None:
        """Answer with an error and close: after the responses that are due, and never in the middle of one."""
        if self.finished:
            return
        self.finished = True
        refusal = self._client.refusal or refusal
        self._context.refused(refusal.status, refusal.message, self._client.peer)
        match self._cycles.place_error(in_body=self._deadlines.phase is _BODY):
            case Place.NOW:
                self._write_last(refusal)
            case Place.LAST:
                self._cycles.end_with(refusal)
            case Place.NOWHERE:
                self.transport.close()
            case Place.TOO_LATE:
                self.abort()

    def _write_last(self, refusal: Refusal) -> None:
        if not self.transport.is_closing():
            identifier = request_id_of(() if self.idle else self.headers)
            self.transport.write(refusal.to_bytes(identifier, self.server_state.default_headers))
            self.transport.close()
