"""One connection to a kdm: requests one after the other, and answers."""

from __future__ import annotations

import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from kdm_cli.client.problems import Problem
from kdm_cli.client.tls import client_context, explained
from kdm_cli.contexts import Context
from kdm_cli.exits import CommandError, Exit

CONNECT_S: Final = 10.0
"""How long connecting may take for each address of the server, in seconds."""

ANSWER_S: Final = 60.0
"""How long an answer may take beyond what was asked to wait, in seconds: twice kdm's own deadline of a request."""


class Unreachable(CommandError):
    """There is no connection to kdm. Nothing was sent."""

    def __init__(self, text: str) -> None:
        super().__init__(text, Exit.UNAVAILABLE)


class ConnectionLost(CommandError):
    """The connection broke before the answer was there. kdm may have done what was asked."""

    def __init__(self, text: str) -> None:
        super().__init__(text, Exit.UNAVAILABLE)


def may_come_back(error: CommandError) -> bool:
    """Return whether what failed may work after a while, because kdm or the way to it is away for now."""
    if isinstance(error, Problem):
        return error.body.get("retryable") is True or error.status in {429, 503}
    return isinstance(error, ConnectionLost | Unreachable)


class Answer:
    """An answer that is no error.

    Attributes:
        body: What the JSON says.
        etag: Its entity tag; "" where it has none.
    """

    def __init__(self, response: HTTPResponse, body: Any) -> None:
        self.body = body
        self.etag = response.getheader("etag") or ""


def process_of(request_id: str) -> str:
    """Return the part of a request id that all ids of one kdm process have in common: all but its counter."""
    return request_id[:8]


class Connection:
    """A connection to the kdm of a context. It is made when it is first needed, and again when it was closed.

    Not safe for use by several threads at once.

    Attributes:
        context: The context.
        process: What identifies the kdm process that answered last; "" before the first answer.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.process = ""
        self._tls: ssl.SSLContext | None = None
        self._http: HTTPSConnection | None = None

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
    ) -> Answer:
        """Send a request and return the answer.

        Args:
            method: The HTTP method.
            path: The path.
            query: The query parameters; those that are None or "" are left out.
            body: What to send as JSON.
            headers: More header fields.
            wait_s: How long the answer may take by itself, in seconds.

        Raises:
            Problem: kdm answered with an error.
            Unreachable: There is no connection, and nothing was sent.
            ConnectionLost: It broke before the answer was there.
            CommandError: A certificate is not accepted, or the answer is none of kdm's.
        """
        response = self.send(method, path, query, body, headers, wait_s)
        return Answer(response, self.content(response))

    def send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
    ) -> HTTPResponse:
        """Send a request and return the head of the answer; see ``call``."""
        fields = {"Accept": "application/json", "User-Agent": "kdm", **(headers or {})}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            fields["Content-Type"] = "application/json"
        given = urlencode({name: value for name, value in (query or {}).items() if value})
        url = f"{path}?{given}" if given else path
        kept = self._http is not None
        try:
            return self._exchange(method, url, content, fields, wait_s)
        except ConnectionLost:
            # A connection that idled may have been closed by the server meanwhile; reading twice does no harm.
            if not kept or method != "GET":
                raise
            return self._exchange(method, url, content, fields, wait_s)

    def content(self, response: HTTPResponse) -> Any:
        """Return what the JSON of an answer says; raises as ``call`` does."""
        try:
            content = response.read()
        except (OSError, HTTPException) as error:
            raise self.lost(error) from error
        return self._json(response, content)

    def close(self) -> None:
        """Close the connection."""
        if self._http is not None:
            self._http.close()
            self._http = None

    def abort(self) -> None:
        """Break the connection off, from another thread: whoever waits on it gets an error at once."""
        http = self._http
        sock = None if http is None else http.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def expect_within(self, seconds: float) -> None:
        """Set how long to wait for the next bytes of an answer."""
        if self._http is not None and self._http.sock is not None:
            self._http.sock.settimeout(seconds)

    def _exchange(
        self, method: str, url: str, content: bytes | None, fields: Mapping[str, str], wait_s: float
    ) -> HTTPResponse:
        http = self._connected()
        assert http.sock is not None  # noqa: S101 - it is connected
        http.sock.settimeout(wait_s + ANSWER_S)
        try:
            with suppress(OSError):  # an alert of TLS or an early answer may say why
                http.request(method, url, content, fields)
            response = http.getresponse()
        except ssl.SSLError as error:
            self.close()
            raise self._explained(error) from error
        except (OSError, HTTPException) as error:
            raise self.lost(error) from error
        self.process = process_of(response.getheader("x-request-id") or "") or self.process
        return response

    def _connected(self) -> HTTPSConnection:
        if self._http is not None and self._http.sock is not None:
            return self._http
        if self._tls is None:
            self._tls = client_context(self.context)
        place = urlsplit(self.context.server)
        assert place.hostname is not None  # noqa: S101 - it was checked
        http = HTTPSConnection(place.hostname, place.port or 443, timeout=CONNECT_S, context=self._tls)
        try:
            http.connect()
        except ssl.SSLError as error:
            raise explained(error, self.context) from error
        except (OSError, HTTPException, UnicodeError) as error:
            why = (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__
            raise Unreachable(f"cannot reach {self.context.server}: {why.lower()}; nothing was sent") from error
        self._http = http
        return http

    def _explained(self, error: ssl.SSLError) -> CommandError:
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return self.lost(error)
        return explained(error, self.context)

    def lost(self, error: Exception) -> ConnectionLost:
        """Close the connection, and return the error that says so."""
        self.close()
        why = "it did not answer in time" if isinstance(error, TimeoutError) else "the connection broke"
        return ConnectionLost(f"{self.context.server}: {why} before an answer came")

    def _json(self, response: HTTPResponse, content: bytes) -> Any:
        kind = (response.getheader("content-type") or "").partition(";")[0]
        body: Any = None
        if kind in {"application/json", "application/problem+json"}:
            try:
                body = json.loads(content)
            except ValueError:
                kind = "broken JSON"
        if response.status < 400 and body is not None:
            return body
        if not isinstance(body, dict):
            raise CommandError(
                f"{self.context.server} is no kdm, or something stands before it: it answered {response.status} "
                f"with {kind or 'nothing'}",
                Exit.AMBIGUOUS if response.status >= 500 and response.getheader("x-request-id") else Exit.OTHER,
            )
        after = response.getheader("retry-after") or ""
        raise Problem(response.status, body, float(after) if after.isdecimal() else None)
