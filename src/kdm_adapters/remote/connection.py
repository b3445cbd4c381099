"""One connection to a kdm, on ``http.client``: it connects, asks and reads, and says what went wrong."""

from __future__ import annotations

import base64
import http.client
import json
import select
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, NamedTuple, NoReturn

from kdm_adapters.remote.access import Access, Address, Proxy
from kdm_adapters.remote.errors import error_of
from kdm_adapters.remote.members import Json
from kdm_adapters.remote.sse import Event, Events, EventTooLarge
from kdm_adapters.remote.transport_errors import Unreachable, of_asking, of_connecting
from kdm_core.errors import ClusterUnrecognized

CONNECT_TIMEOUT_S: Final = 10.0
SILENCE_S: Final = 50.0
"""A stream from which nothing comes for so long is broken, in seconds: three signs of life, due every 15 s, are missing
(``docs/reference``)."""

MAX_ANSWER_BYTES: Final = 256 * 1024 * 1024
"""The largest answer that is read. A list of 150,000 Deployments has some 100 MB."""

SAFE: Final = frozenset({"GET", "HEAD"})
"""The methods that write nothing."""

_CHUNK: Final = 64 * 1024


class Answer(NamedTuple):
    """What the kdm answered to a call that it could do.

    Attributes:
        status: The HTTP status: 2xx, or 304.
        fields: The header fields, names in lower case.
        content: The body, as it came.
    """

    status: int
    fields: Mapping[str, str]
    content: bytes

    @property
    def body(self) -> Json:
        """The body.

        Raises:
            ClusterUnrecognized: It is no JSON object.
        """
        try:
            body = json.loads(self.content)
        except (ValueError, RecursionError):
            body = None
        if not isinstance(body, dict):
            raise ClusterUnrecognized(
                "the answer is not kdm's: it is no JSON object; is the server's URL that of a kdm? A write may have "
                "happened: read before trying again"
            )
        return body


class Connection:
    """A connection that is made when this is made. The files of the client certificate are read for it.

    Args:
        access: How to reach the kdm.
        address: Where that is.
        proxy: Through which proxy; None for none.
        timeout_s: How long connecting may take, in seconds.

    Raises:
        InvalidAccess: A file of the client certificate is not what it should be.
        ClusterUnreachable: There is no connection; the message says why.
    """

    def __init__(self, access: Access, address: Address, proxy: Proxy | None, timeout_s: float) -> None:
        self._access = access
        self._address = address
        context = access.tls_context()
        host, port = (proxy or address)[:2]
        self._http = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)
        if proxy is not None:
            self._http.set_tunnel(address.host, address.port, _authorization(proxy))
        try:
            self._http.connect()
        except (OSError, http.client.HTTPException) as error:
            self._http.close()
            through = proxy is not None and not isinstance(error, ssl.SSLError)
            met = f"the proxy {host}:{port}" if through else address.authority
            cause = error if isinstance(error, OSError) else ConnectionError(str(error))
            raise of_connecting(cause, access, met, timeout_s) from error

    @property
    def has_ended(self) -> bool:
        """Whether it is of no use any more while idle: the server has something to say, such as goodbye."""
        sock = self._http.sock
        return sock is None or bool(select.select([sock], [], [], 0)[0])

    def close(self) -> None:
        """Close it."""
        self._http.close()

    def abort(self) -> None:
        """Break off what another thread does with it."""
        if self._http.sock is not None:
            with suppress(OSError):
                self._http.sock.shutdown(socket.SHUT_RDWR)

    def ask(
        self, method: str, target: str, sent: Mapping[str, str], content: bytes, timeout_s: float
    ) -> http.client.HTTPResponse:
        """Send a request and read the beginning of the answer.

        Args:
            method: The method.
            target: The path and the query.
            sent: The header fields.
            content: The body.
            timeout_s: For how long nothing may come, in seconds.
        """
        self._http.sock.settimeout(timeout_s)
        try:
            self._http.request(method, target, content or None, dict(sent))
            return self._http.getresponse()
        except (OSError, http.client.HTTPException) as error:
            self._lost(self._last_words() or error, method)

    def read(self, method: str, response: http.client.HTTPResponse) -> Answer:
        """Read the rest of an answer. The connection is closed where it is of no use afterwards.

        Raises:
            KdmError: It is an error.
        """
        try:
            read = b"" if method == "HEAD" else response.read(MAX_ANSWER_BYTES)
            if response.length and method != "HEAD":
                raise http.client.IncompleteRead(b"", response.length)
        except (OSError, http.client.HTTPException) as error:
            self._lost(error, method)
        finally:
            if not response.isclosed() or response.will_close:
                self.close()
        fields = {name.lower(): value for name, value in response.getheaders()}
        if response.status >= 300 and response.status != 304:
            raise error_of(response.status, fields, read, read=method in SAFE)
        return Answer(response.status, fields, read)

    def events(self, response: http.client.HTTPResponse) -> Iterator[Event]:
        """Yield the events of a stream until it ends."""
        where = self._address.authority
        self._http.sock.settimeout(SILENCE_S) if self._http.sock is not None else None
        parser = Events()
        while True:
            try:
                chunk = response.read1(_CHUNK)
            except TimeoutError as error:
                raise Unreachable(f"{where} has fallen silent: nothing came for {SILENCE_S:g} s") from error
            except (OSError, http.client.HTTPException) as error:
                self._lost(error, "GET")
            if not chunk:
                return
            try:
                for event in parser.feed(chunk):
                    if not event.comment:
                        yield event
            except EventTooLarge as error:
                raise ClusterUnrecognized(f"what {where} streams is not kdm's: {error}") from error

    def _lost(self, error: BaseException, method: str) -> NoReturn:
        raise of_asking(error, self._access, self._address.authority, read=method in SAFE) from error

    def _last_words(self) -> OSError | None:
        """Return the alert that a server sent before it closed: it may lie unread behind the failure to send more."""
        sock = self._http.sock
        if sock is None:
            return None
        with suppress(OSError, ValueError):
            sock.settimeout(0.2)
            try:
                sock.recv(1)
            except ssl.SSLError as error:
                return error if "_ALERT_" in (error.reason or "") else None
        return None


def _authorization(proxy: Proxy) -> dict[str, str]:
    if not proxy.user:
        return {}
    pair = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
    return {"Proxy-Authorization": f"Basic {pair}"}
