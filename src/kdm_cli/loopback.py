"""The page on loopback: an ASGI application that serves its files, and passes calls of the API on with a certificate.

Whoever may connect to a port of this machine is not yet its user, and a browser sends requests for any page it shows.
So everything here needs a cookie that is given once, for the token of the printed address; the Host must be this
server's own name, which a page elsewhere cannot have (DNS rebinding); and a call that is not this page's is refused.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable, Mapping
from email.utils import formatdate
from html import escape
from typing import Any, Final

import msgspec
from litestar.types import Receive, Send

from kdm_adapters.remote.transport import Transport
from kdm_core.errors import KdmError
from kdm_http.api.errors import MAX_BODY_BYTES, Refused
from kdm_http.api.etags import is_known
from kdm_http.api.same_origin import check_same_origin
from kdm_http.page.files import BASE, GUARDS, Page
from kdm_http.server.uvicorn_seam import Config, Server

OPEN: Final = "/open/"
"""Where the printed address leads: the token follows."""

SILENCE_S: Final = 60.0
"""How long to wait for a next byte, in seconds: a stream has one each 15 s, and the page asks for shorter waits."""

_PASSED: Final = ("/api/v2", "/problems")
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST"})
_ASKED: Final = frozenset(
    {b"accept", b"content-type", b"idempotency-key", b"if-match", b"if-none-match", b"last-event-id", b"x-request-id"}
)
"""The request's header fields that are passed on. Origin and what the browser says of the page stay here."""

_ANSWERED: Final = frozenset(
    {
        b"age",
        b"allow",
        b"cache-control",
        b"content-type",
        b"date",
        b"etag",
        b"idempotency-replayed",
        b"retry-after",
        b"x-request-id",
    }
)
"""The answer's header fields that are passed back. Date is kdm's: the page corrects ages by it."""

_INERT: Final = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"x-content-type-options": b"nosniff",
}
"""What passed answers have besides: opened as a page, one runs no script with the page's cookie."""

Fields = Iterable[tuple[bytes, bytes]]


class Gate:
    """Lets in one browser: the first to come with the token.

    Args:
        port: The port of the server. The cookie is named after it: browsers send cookies to every port of a host.
    """

    def __init__(self, port: int) -> None:
        self._name = f"kdm-ui-{port}"
        self._token: str | None = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)
        self._hosts = {f"{host}:{port}".encode() for host in ("127.0.0.1", "localhost")}

    @property
    def token(self) -> str:
        """The token, for the address that is printed; empty once it is used."""
        return self._token or ""

    def is_ours(self, host: bytes) -> bool:
        """Return whether a request's Host names this server."""
        return host.lower() in self._hosts

    def exchange(self, token: str) -> str | None:
        """Return the value of Set-Cookie for the token, once; None for any other."""
        if self._token is None or not secrets.compare_digest(token.encode(), self._token.encode()):
            return None
        self._token = None
        return f"{self._name}={self._session}; HttpOnly; SameSite=Strict; Path=/"

    def knows(self, cookies: Iterable[bytes]) -> bool:
        """Return whether one of a request's cookies is the one that was given."""
        # Not by http.cookies, which gives up at a cookie that it cannot read: others of this host may have set one.
        wanted = f"{self._name}={self._session}".encode()
        pairs = [pair.strip() for each in cookies for pair in each.split(b";")]
        return self._token is None and any(secrets.compare_digest(pair, wanted) for pair in pairs)


class Loopback:
    """The application.

    Args:
        gate: Who is let in.
        page: The files.
        upstream: Where calls are passed on to.
    """

    def __init__(self, gate: Gate, page: Page, upstream: Transport) -> None:
        self._gate = gate
        self._page = page
        self._upstream = upstream

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request, as ASGI specifies."""
        fields, path, method = scope["headers"], scope["path"], scope["method"]
        hosts = _values(fields, b"host")
        if len(hosts) != 1 or not self._gate.is_ours(hosts[0]):
            await _text(send, 421, "This is kdm's page for this machine alone: open the address that `kdm ui` printed.")
        elif path.startswith(OPEN):
            await self._open(path.removeprefix(OPEN), method, send)
        elif not self._gate.knows(_values(fields, b"cookie")):
            await _refuse(send, path, 401, "unauthenticated", "open the address that `kdm ui` printed: it works once")
        elif path == BASE or path.startswith(f"{BASE}/"):
            await self._file(path, method, fields, send)
        elif path == "/":
            await _answer(send, 303, {b"location": BASE.encode()}, b"")
        elif method not in _METHODS or not _is_passed(path):
            await _refuse(send, path, 404, "no-such-route", "kdm ui passes on /api/v2 and /problems, and nothing else")
        else:
            await self._pass_on(scope, receive, send)

    async def _open(self, token: str, method: str, send: Send) -> None:
        cookie = self._gate.exchange(token) if method == "GET" else None
        if cookie is None:
            await _text(
                send, 403, "This address was used before, or was never right. Start `kdm ui` again for a new one."
            )
            return
        # Not a redirect: where a page elsewhere had the link, the browser would not send a strict cookie along with it.
        fields = {b"set-cookie": cookie.encode(), b"refresh": b"0; url=%b" % BASE.encode()}
        await _text(send, 200, "Opening kdm …", fields)

    async def _file(self, path: str, method: str, fields: Fields, send: Send) -> None:
        directory = f"{BASE}/{self._page.directory}/"
        name = path.removeprefix(directory) if path.startswith(directory) else ""
        asset = self._page.index if path == BASE else self._page.assets.get(name)
        if asset is None or method not in {"GET", "HEAD"}:
            await _refuse(send, path, 404, "no-such-route", f"the page has no such file: open {BASE}")
            return
        form = asset.form(b",".join(_values(fields, b"accept-encoding")))
        answered = {**form.fields, b"etag": form.tag}
        if is_known(form.tag, fields):
            await _answer(send, 304, answered, b"")
            return
        encoding = {b"content-encoding": form.encoding} if form.encoding else {}
        await _answer(send, 200, {**answered, **encoding, b"content-type": asset.media_type}, form.body)

    async def _pass_on(self, scope: Any, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        try:
            check_same_origin(scope["headers"], b"http")
        except Refused as error:
            await _refuse(send, path, error.status, error.code, str(error), written=False)
            return
        body = b""
        more = True
        while more:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                await _refuse(send, path, 413, "body-too-large", "the body is too large", written=False)
                return
        query = scope["query_string"]
        target = scope["raw_path"] + (b"?" + query if query else b"")
        passed = [each for each in scope["headers"] if each[0] in _ASKED]
        passing = asyncio.ensure_future(self._passed(method, target, passed, body, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (passing, leaving):
                task.cancel()
            results = await asyncio.gather(passing, leaving, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    async def _passed(
        self, method: str, target: bytes, fields: list[tuple[bytes, bytes]], body: bytes, send: Send
    ) -> None:
        write = method in {"PUT", "POST"}
        started = False
        try:
            async with self._upstream.passed(method, target, fields, body, silence_s=SILENCE_S) as answer:
                head = {name.lower(): value for name, value in answer.fields if name.lower() in _ANSWERED}
                await _start(send, answer.status, {**head, **_INERT})
                started = True
                async for piece in answer.body:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except KdmError as error:
            if started:
                raise _Broken from error
            written = {"written": error.written} if write else {}
            await _refuse(send, target.decode("ascii"), 502, "unreachable", str(error)[:400], **written)


def server_of(app: Loopback) -> Server:
    """Return a server of the application, for a socket that is bound already."""
    return Server(
        Config(
            app,
            lifespan="off",
            access_log=False,  # the token is in an address
            log_config=None,
            log_level="critical",  # an answer broken off and a browser gone are no news, and no traceback
            server_header=False,
            date_header=False,  # see _start
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
    )


def _is_passed(path: str) -> bool:
    """Return whether calls to a path are passed on. One with dot segments may lead anywhere."""
    return not {".", ".."} & set(path.split("/")) and any(
        path == each or path.startswith(f"{each}/") for each in _PASSED
    )


class _Broken(Exception):
    """The answer broke off: its connection has to, too."""


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _values(fields: Fields, wanted: bytes) -> list[bytes]:
    return [value for name, value in fields if name == wanted]


async def _refuse(send: Send, path: str, status: int, code: str, message: str, **members: object) -> None:
    """Answer with an error: to a program as the API does, to a person as text."""
    if not path.startswith("/api/"):
        await _text(send, status, f"{message[0].upper()}{message[1:]}.")
        return
    body = {"code": code, "status": status, "detail": message, "retryable": status == 502, **members}
    await _answer(send, status, {b"content-type": b"application/problem+json"}, msgspec.json.encode(body))


async def _text(send: Send, status: int, text: str, fields: Mapping[bytes, bytes] | None = None) -> None:
    head = '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>kdm</title>\n'
    body = f"{head}<p>{escape(text)}</p>\n</html>\n"
    always = {**GUARDS, b"cache-control": b"no-store", b"content-type": b"text/html; charset=utf-8"}
    await _answer(send, status, {**always, **(fields or {})}, body.encode())


async def _answer(send: Send, status: int, fields: Mapping[bytes, bytes], body: bytes) -> None:
    length = {} if status == 304 else {b"content-length": b"%d" % len(body)}
    await _start(send, status, {**fields, **length, b"x-content-type-options": b"nosniff"})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _start(send: Send, status: int, fields: Mapping[bytes, bytes]) -> None:
    date = {} if b"date" in fields else {b"date": formatdate(usegmt=True).encode()}
    await send({"type": "http.response.start", "status": status, "headers": list({**date, **fields}.items())})
