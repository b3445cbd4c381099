"""HTTP/1.1 on one connection: uvicorn's protocol, plus who the peer is and how much it may ask for.

uvicorn arms a single timer, after a response. Here a connection is always in one phase, and each has its deadline: idle
(no byte of a request yet), header, body, and none while only a response is under way, which ``answers.within`` bounds.
"""

from __future__ import annotations

import asyncio
import math
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from kdm_http.request_id import request_id_of
from kdm_http.server.context import Front, Phase
from kdm_http.server.request_head import MALFORMED, BadHead, check, check_request_line, is_host
from kdm_http.server.responses import Refusal, closing_unless_read
from kdm_http.tls.certificates import Certificate
from kdm_http.tls.context import Material
from kdm_http.tls.handshake import Handshake
from kdm_http.tls.peer import Peer, PeerRefused
from kdm_http.tls.rejection import Reason, Rejection

_BLANK: Final = ord(" ")
_FIELD_OVERHEAD: Final = 4
"""Bytes of a header field besides its name and value: ": " and CRLF."""

_STATUS_LINES: Final = {each.value: b"HTTP/1.1 %d %b\r\n" % (each, each.phrase.encode()) for each in HTTPStatus}
_READS: Final = frozenset({b"GET", b"HEAD"})
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_NOT_PLAIN: Final = _FRAMING | {b"expect", b"upgrade"}
"""Header fields of requests that have, or may have, a body, or want another protocol."""

_IDLE, _HEADER, _BODY, _RESPONSE = Phase

_JOINED_BYTES: Final = 16 * 1024
"""Up to this size, the size of a TLS record, header and body go out as one."""

LINGER_S: Final = 1.0
"""How long an idle connection may still ask for something when the server is leaving, in seconds."""

LEAVE_S: Final = 0.5
"""How long a client may take to answer close_notify when the server is leaving, in seconds. Pooled ones never do."""


class _HeaderTooLarge(Exception):
    """Ends the parsing of a request."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection. ``scope["state"]["peer"]`` of its requests is the :class:`Peer`, on a TLS listener."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        front: Front,
        handshake: Handshake,
        material: Material | None = None,
    ) -> None:
        """Serve a connection.

        Args:
            config: uvicorn's.
            server_state: uvicorn's.
            app_state: What every request's ``scope["state"]`` begins with.
            front: What the listener's connections have in common.
            handshake: What is known of the client so far.
            material: What OpenSSL verified the client by; None on a plain listener.
        """
        super().__init__(config, server_state, app_state, _loop)
        self._served_app: ASGI3Application = self.app
        self._front = front
        self._limits = front.limits
        self._handshake = handshake
        self._peer: Peer | None = None
        self._chain: tuple[Certificate, ...] = ()
        self._judged_by = material
        self._good_until = datetime.min.replace(tzinfo=UTC)
        self._joined = False
        self._opened = False
        self._leaving = False
        self._finished = False
        self._messages = 0
        self._fed_bytes = 0
        self._piece_bytes = 0
        self._piece = self._begun = b""
        self._trailer_bytes = 0
        self._oversized = False
        self._plain = True
        self._hosts = 0
        self._host = self._good_host = b""
        self._hung_up = False
        self._last_words: tuple[int, str] | None = None
        self._running: RequestResponseCycle | None = None  # the newest request that an application has been given
        self._may_answer_at_once = False
        self._answered = False
        self._phase = _IDLE
        self._deadline = self._wakes_at = math.inf
        self._timer: asyncio.TimerHandle | None = None
        self._age: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None

    # The connection

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """Find out who it is, and wait for a request."""
        super().connection_made(transport)
        front = self._front
        front.emptied.clear()
        if front.tls is not None and not self._identify(transport):
            return
        self._opened = True
        self._handshake.hung_up = self._on_close_notify
        front.events.connection_opened(front.name, self._peer)
        if self._peer is not None:
            self.app_state = {**self.app_state, "peer": self._peer}
            self._joined = front.shares.join(self._peer.identity.user)
        self._age = self.loop.call_later(self._limits.connection_age_s, self._retire)
        self._enter(_IDLE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave nothing behind."""
        if self._running is not None:  # uvicorn looks at the newest request alone, and this one may be before it
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)
        self._finished = True
        self._handshake.hung_up = None
        self._unset_keepalive_if_required()
        for timer in (self._timer, self._age, self._stall):
            if timer is not None:
                timer.cancel()
        front = self._front
        if self._joined and self._peer is not None:
            front.shares.leave(self._peer.identity.user)
        if self._opened:
            front.events.connection_closed(front.name)
        if not self.connections:
            front.emptied.set()

    @property
    def busy(self) -> bool:
        """Whether a response is still due, or still being taken by the client."""
        return bool(self.pipeline) or self._under_way or self.flow.write_paused

    @property
    def _under_way(self) -> bool:
        return not getattr(self.cycle, "response_complete", True)  # there is no cycle before the first request

    def pause_writing(self) -> None:
        """The client does not read: it gets a while to begin again."""
        super().pause_writing()
        self._stall = self.loop.call_later(self._limits.write_s, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        super().resume_writing()
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        self._leave_if_done()

    def shutdown(self) -> None:
        """Begin a graceful end: after one response more, or after a while in which none was asked for.

        A request may be on its way when the server decides to close: RFC 9112, section 9.5. So an idle connection is
        closed with an answer that says so, where its client is one that asks often, and not under its feet.
        """
        self._leaving = True
        if self.busy:
            super().shutdown()
            self._leave_if_done()
        elif self._phase is _IDLE and self._age is not None:
            self._age.cancel()
            self._age = self.loop.call_later(min(LINGER_S, self._limits.grace_s / 2), self._leave_if_idle)

    def _leave_if_idle(self) -> None:
        if self._phase is _IDLE and not self._finished:
            self._finished = True
            self.transport.close()
            self._leave_if_done()

    def _leave_if_done(self) -> None:
        if self._leaving and not self.busy and self._age is not None:
            self._age.cancel()
            self._age = self.loop.call_later(LEAVE_S, self.transport.abort)

    def _retire(self) -> None:
        # A stream would go on for good otherwise.
        self._age = self.loop.call_later(self._limits.request_s, self.transport.abort)
        self.shutdown()

    def eof_received(self) -> bool:  # type: ignore[override]  # uvicorn's says nothing, and so closes at once
        """The client of a plain connection will ask for nothing more: what it asked for is answered first."""
        self._hang_up()
        return self._front.tls is None  # with TLS the transport closes itself

    def _on_close_notify(self) -> None:
        # It is read before the requests that came with it are passed on.
        if not self._hung_up:
            self._hung_up = True
            self.loop.call_soon(self._hang_up)

    def _hang_up(self) -> None:
        if self._finished:
            return
        half_a_body = self._phase is _BODY and not self.pipeline
        if self.busy and not half_a_body:
            self.shutdown()
        else:
            self._finished = True
            self.transport.close()

    # The peer

    def _identify(self, transport: asyncio.Transport) -> bool:
        """Read the peer's certificate, and return whether the connection can be used."""
        connection = transport.get_extra_info("ssl_object")
        try:
            # CERT_REQUIRED: without one the handshake would have failed.
            self._peer = self._handshake.identify(connection.getpeercert(binary_form=True))
        except PeerRefused as exc:
            self._cut(exc.reason, str(exc))
            return False
        self._chain = self._handshake.sent
        if self._judged_by is not None and not connection.session_reused:  # else OpenSSL did not look at it
            self._good_until = self._judged_by.trust.holds_until(self._chain, self._front.now())
        return self.judge()

    def judge(self) -> bool:
        """Judge the peer by the certificates in use and the time of now; close the connection if it is refused.

        Returns:
            Whether the peer is still good.
        """
        tls = self._front.tls
        if self._finished or tls is None or self._peer is None:
            return tls is None
        now, material = self._front.now(), tls.material
        if self._judged_by is material and now < self._good_until:
            return True
        reason = material.trust.refusal(self._chain, now)
        self._judged_by, self._good_until = material, material.trust.holds_until(self._chain, now)
        if reason is None:
            return True
        self._cut(reason, "the certificate is no longer good")
        return False

    def _cut(self, reason: Reason, detail: str) -> None:
        self._finished = True
        peer = self._peer
        self._front.reject(
            Rejection(
                time=self._front.now(),
                address=self._handshake.address,
                reason=reason,
                detail=detail,
                established=True,
                user=peer.identity.user if peer else "",
                subject=self._handshake.subject,
                fingerprint=self._handshake.fingerprint,
            )
        )
        if self.busy:
            self.transport.abort()
        else:
            self.transport.close()

    # Requests

    def data_received(self, data: bytes) -> None:
        """Parse what came, within the header's bounds."""
        if self._finished:
            return
        phase, messages = self._phase, self._messages
        self._may_answer_at_once = True
        self._piece_bytes = len(data)
        self._piece = self._begun + data if self._begun else data
        super().data_received(data)
        self._begun = self._piece[-self._limits.header_bytes :] if self._phase is _HEADER else b""
        self._piece = b""
        if self._phase is _HEADER and not self._finished:
            if messages == self._messages or phase is _IDLE:  # else a part of it was the request before's
                self._fed_bytes += len(data)
            if self._fed_bytes > self._limits.header_bytes:
                self._oversized = True
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins. The scope that uvicorn would make now is only made for a request that needs one."""
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._messages += 1
        self._fed_bytes = self._trailer_bytes = self._hosts = 0
        self._plain = True
        self._enter(_HEADER)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field came."""
        if self._phase is not _HEADER:  # RFC 9110, section 6.5.1: a trailer field does not join the header
            self._trailer_bytes += len(name) + len(value) + _FIELD_OVERHEAD
            if self._trailer_bytes > self._limits.header_bytes:
                self._oversized = True
                raise _HeaderTooLarge
            return
        name = name.lower()
        if value and value[-1] <= _BLANK:  # RFC 9112, section 5.1: no part of it; the parser leaves those at the end
            value = value.rstrip(b" \t")
        if name == b"host":
            self._hosts += 1
            self._host = value
        elif name in _NOT_PLAIN:
            self._plain = False
            if name == b"expect":
                self.expect_100_continue = value.lower() == b"100-continue"
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The header is whole: judge the peer, and give the request to the application or refuse it."""
        if self._finished or not self.judge():
            return
        self._bound_header()
        self._enter(_BODY)
        refusal = self._over_quota()
        if refusal is None:
            version, method = self.parser.get_http_version(), self.parser.get_method()
            try:
                check_request_line(method, self.url, version, self._piece)
                if self._answer_at_once(method, version):
                    return
                self.url = check(method, self.url, version, self.headers)
            except BadHead as bad:
                refusal = Refusal(bad.status, str(bad), close=True)
            else:
                # RFC 9110, section 10.1.1: HTTP/1.0 does not know it, and it is about a body
                self.expect_100_continue &= version == "1.1" and any(name in _FRAMING for name, _ in self.headers)
        if refusal is None:
            self._ask(self._served_app)
        else:
            self._refuse(refusal)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _ask(self, app: ASGI3Application) -> None:
        """Have an application answer."""
        self.app = closing_unless_read(app) if self.expect_100_continue else app
        self._make_scope()
        super().on_headers_complete()
        if self._leaving or self.parser.should_upgrade():
            # No upgrade is offered, and the parser does not look past a request that asks for one.
            self.cycle.keep_alive = False

    def _refuse(self, refusal: Refusal) -> None:
        """Answer this request, when it is its turn, with an error."""
        self._front.refused(refusal.status, refusal.message, self._peer)
        self.url = b"/"  # what it was may be no target at all
        self.expect_100_continue &= not refusal.close  # it says so itself
        self._ask(refusal.answer)
        if refusal.close:
            self._enter(_RESPONSE)
            self._finished = True  # what follows it is of no interest

    def _make_scope(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers

    def on_body(self, body: bytes) -> None:
        """A part of the body came."""
        if not self._finished:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        if self._finished:
            return
        if self._answered:
            self._answered = False
            self._enter(_IDLE)
            return
        super().on_message_complete()
        self._enter(_RESPONSE if self.busy else _IDLE)

    def on_response_complete(self) -> None:
        """A response is written: go on with the next request, or wait for one."""
        super().on_response_complete()
        self._unset_keepalive_if_required()  # the phases have a timer of their own
        if self._last_words is not None and not self.pipeline and not self._under_way:
            self._say_last(*self._last_words)
        self._leave_if_done()
        if self._phase is _RESPONSE and not self.busy and not self._finished:
            self._enter(_IDLE)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, or too much of it, and close. uvicorn's words are not told to the client."""
        del msg
        if self._oversized:
            self._answer(
                431,
                f"the request's header is larger than {self._limits.header_bytes} bytes or has more than "
                f"{self._limits.header_fields} fields",
            )
        else:
            self._answer(400, MALFORMED)

    def _unsupported_upgrade_warning(self) -> None:
        """An upgrade that nobody offers is ignored, as RFC 9110 (section 7.8) allows."""

    def _bound_header(self) -> None:
        limits, fields = self._limits, self.headers
        if len(fields) <= limits.header_fields:
            if self._fed_bytes + self._piece_bytes <= limits.header_bytes:
                return  # all that came is less
            field_bytes = sum(len(name) + len(value) + _FIELD_OVERHEAD for name, value in fields)
            if len(self.url) + field_bytes <= limits.header_bytes:
                return
        self._oversized = True
        raise _HeaderTooLarge

    def _over_quota(self) -> Refusal | None:
        """Return what to tell a client that asks for more than its share; None for one that does not."""
        if self._peer is None:
            return None
        if not self._joined:
            many = self._limits.connections_per_identity
            return Refusal(429, f"more than {many} connections of one identity", close=True, retry_after_s=1)
        retry_after_s = self._front.shares.take(self._peer.identity.user)
        if retry_after_s:
            rate = self._limits.requests_per_s
            return Refusal(429, f"more than {rate:g} requests a second of one identity", retry_after_s=retry_after_s)
        return None

    def _answer_at_once(self, method: bytes, version: str) -> bool:
        """Answer without the application, if that can be, and return whether it was done."""
        shortcut, peer = self._front.shortcut, self._peer
        if (
            shortcut is None
            or peer is None
            or method not in _READS
            or version != "1.1"  # HTTP/1.0 would have to be told that the connection is kept
            or not self._plain
            or self._hosts != 1
            or not self._may_answer_at_once
            or self._leaving
            or self.busy
            or not self.parser.should_keep_alive()
        ):
            return False
        if self._host != self._good_host:
            if not is_host(self._host):
                return False
            self._good_host = self._host
        ready = shortcut(method, self.url, self.headers, peer)
        if ready is None:
            return False
        # One for each piece of data that came: then a client that asks on and on, but does not read, is noticed.
        self._may_answer_at_once = False
        self._answered = True
        self.server_state.total_requests += 1
        status, head, body = ready
        first = _STATUS_LINES[status]
        if method == b"HEAD":
            body = b""
        if len(body) > _JOINED_BYTES:
            self.transport.writelines([first, self._front.default_head, head, body])
        else:
            self.transport.write(b"".join((first, self._front.default_head, head, body)))
        return True

    # Deadlines

    def _enter(self, phase: Phase) -> None:
        self._phase = phase
        self._deadline = self.loop.time() + self._front.allowed_s[phase]
        if self._deadline < self._wakes_at:
            self._wake_at_deadline()

    def _wake_at_deadline(self) -> None:
        # A timer that fires too early is cheaper than one that is moved at every step of every request.
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._wakes_at = self._deadline
        if self._deadline < math.inf:
            self._timer = self.loop.call_at(self._deadline, self._wake)

    def _wake(self) -> None:
        self._timer, self._wakes_at = None, math.inf
        if self.loop.time() >= self._deadline:
            self._expire()
        else:
            self._wake_at_deadline()

    def _expire(self) -> None:
        if self._phase is _IDLE:
            self._finished = True
            self.transport.close()
        elif self._phase is _BODY:
            self._answer(408, f"the body did not come within {self._limits.body_s:g} s")
        elif self.busy:
            # Reading is paused until the response before this request is done.
            self._enter(_HEADER)
        else:
            self._answer(408, f"the header did not come within {self._limits.header_s:g} s")

    def _answer(self, status: int, message: str) -> None:
        """Answer with an error and close: after the answers that are due, and never in the middle of one."""
        if self._finished:
            return
        self._finished = True
        self._front.refused(status, message, self._peer)
        cycle, under_way = self.cycle, self._under_way
        own = self._phase is _BODY  # otherwise what is under way is the request before
        if not own and under_way:
            self._last_words = status, message
        elif own and not under_way:
            self.transport.close()  # it has its answer, and only the rest of its body is wrong
        elif own and self.pipeline:  # its turn has not come: those before it are answered first
            self.pipeline.popleft()
            self.cycle = self.pipeline[0][0] if self.pipeline else self._running or cycle
            self._last_words = status, message
        elif own and cycle.response_started:
            self.transport.abort()
        else:
            if own:
                cycle.disconnected = True
                cycle.message_event.set()
            self._say_last(status, message)

    def _say_last(self, status: int, message: str) -> None:
        self._last_words = None
        if not self.transport.is_closing():
            identifier = request_id_of(() if self._phase is _IDLE else self.headers)
            refusal = Refusal(status, message, close=True)
            self.transport.write(refusal.to_bytes(identifier, self.server_state.default_headers))
            self.transport.close()
