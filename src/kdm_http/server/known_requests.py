"""Requests that were answered before: known by their bytes, they are answered again without being parsed.

A request without a body is its first line and its header. Both are known once the parser has accepted exactly these
bytes as one request, and it was answered at once. A known line with a known header is then a request that the parser
would accept, too: it reads the one independently of the other. Lines are known of an identity, headers of a connection.
"""

from __future__ import annotations

from typing import Final

from kdm_http.server.application import Ready, SomeFields
from kdm_http.server.client import Client
from kdm_http.server.context import ListenerContext
from kdm_http.server.known_lines import Lines

KNOWN_HEADERS: Final = 4
"""How many headers are known of one connection: a proxy sends the requests of several clients on one."""

LONGEST: Final = 2048
"""The longest request that is known, and the longest body that is given again, in bytes.

A known line and a known header may together be twice as long. A listener that allows less for a header knows none.
"""

_LINE_END: Final = b"\r\n"
_HEADER_END: Final = b"\r\n\r\n"


class KnownRequests:
    """The requests that the client of one connection sent before. Belongs to one event loop."""

    __slots__ = ("_answered", "_client", "_context", "_headers", "_lines", "_monotonic")

    def __init__(self, context: ListenerContext, client: Client) -> None:
        """Start with none; nothing becomes known before ``join``.

        Args:
            context: What the listener's connections have in common.
            client: The connection's client.
        """
        self._context = context
        self._client = client
        self._monotonic = context.quota.monotonic
        self._lines: Lines | None = None
        self._headers: dict[bytes, SomeFields] = {}
        self._answered: tuple[bytes, Ready] | None = None

    def join(self) -> None:
        """Take part in what is known of the client, once that has joined."""
        peer = self._client.peer
        if peer is not None and self._client.share is not None and self._context.limits.header_bytes >= 2 * LONGEST:
            self._lines = self._context.known_lines.join(peer.identity)

    def leave(self) -> None:
        """Let go of it."""
        if self._lines is not None:
            self._context.known_lines.leave(self._lines)
            self._lines = None

    def answer(self, data: bytes) -> bytes | None:
        """Return the response to a known request, and count it, if the client may have it without another look.

        Args:
            data: What came while no request was under way.
        """
        lines = self._lines
        if lines is None:
            return None
        line, _, header = data.partition(_LINE_END)
        again, matters = lines.get(line), self._headers.get(header)
        if again is None or matters is None:
            return None
        client, started_s = self._client, self._monotonic()
        if client.share is None or not client.admits_at_once(started_s):
            return None
        try:
            response = again.answer(matters, started_s, self._context.default_head)
        except Exception:  # noqa: BLE001 - whatever it is, the ordinary way comes across it, logs it and answers
            response = None
        if response is None:
            self._context.known_lines.forget(lines, line)
            return None
        client.share.tokens -= 1
        return response

    def answered(self, line: bytes, ready: Ready) -> None:
        """Note how a request was answered that the parser is still reading."""
        self._answered = None if ready.again is None else (line, ready)

    def note_one(self, data: bytes, *, whole: bool) -> None:
        """Know the request that was answered from now on, if it is the whole of what came.

        Args:
            data: What came.
            whole: Whether the parser took it for one request, from its beginning to its end.
        """
        if self._answered is None:
            return
        (line, ready), self._answered = self._answered, None
        first, _, header = data.partition(_LINE_END)
        if (
            not whole
            or self._lines is None
            or ready.again is None
            or first != line
            or len(data) > LONGEST
            or len(ready.body) > LONGEST
            or data.find(_HEADER_END) != len(data) - len(_HEADER_END)
        ):
            return
        self._context.known_lines.add(self._lines, line, ready.again)
        if header not in self._headers and len(self._headers) >= KNOWN_HEADERS:
            del self._headers[next(iter(self._headers))]
        self._headers[header] = ready.matters
