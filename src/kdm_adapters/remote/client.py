"""Single calls to a kdm's API v2, and its stream: blocking, without a cache, quick to import.

It rests on ``http.client``: a command that makes one call has no time for more (``docs/adr/0037-remote.md``).
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

from kdm_adapters.remote.access import Access, Address, Proxy, proxy_for
from kdm_adapters.remote.connection import CONNECT_TIMEOUT_S, SAFE, Answer, Connection
from kdm_adapters.remote.errors import problem_of
from kdm_adapters.remote.members import Json
from kdm_adapters.remote.sse import Event
from kdm_adapters.remote.transport_errors import Misdirected
from kdm_core.errors import ClusterUnrecognized, KdmError, NotSeenYet, Unavailable

__all__ = ["Answer", "Client", "deployment_path", "list_path"]

BASE: Final = "/api/v2"

TIMEOUT_S: Final = 30.0
"""How long an answer may take, in seconds: longer than kdm lets a request take by default."""

PATIENCE_S: Final = 10.0
"""For how long a call is tried again, in seconds."""

_BACKOFF_S: Final = (0.2, 5.0)
"""The first delay before trying again where the server names none, and the largest one, in seconds."""


def list_path(namespace: str | None = None) -> str:
    """Return the path of the Deployments of a namespace, or of all."""
    return f"{BASE}/deployments" if namespace is None else f"{BASE}/namespaces/{quote(namespace, safe='')}/deployments"


def deployment_path(namespace: str, name: str, part: str = "") -> str:
    """Return the path of one Deployment, or of a part of it: ``replicas``, ``adjust``, ``rollout`` and so on."""
    return f"{list_path(namespace)}/{quote(name, safe='')}{'/' + part if part else ''}"


class Client:
    """Calls one kdm, one call after the other, over one connection that is kept. Not for several threads at a time.

    A write carries an ``Idempotency-Key``. A call is tried again, for ``patience_s``, where trying again may help, and
    can do no harm: it can write nothing, or the answer says that it has written nothing, or its key keeps it from being
    done twice. Keys are kept by one kdm process: a ``POST`` whose answer was lost goes again to no other. Where there
    has been no answer from the server yet, a connection that cannot be made is not tried again.

    The files of the client certificate are read for each connection: one that was renewed is used from then on.
    ``HTTPS_PROXY`` and ``NO_PROXY`` are honoured; loopback is never proxied.

    Args:
        access: How to reach it.
        timeout_s: How long an answer may take, in seconds; a call may say otherwise.
        connect_timeout_s: How long connecting may take, in seconds.
        patience_s: For how long a call is tried again, in seconds; 0 for never.
        agent: What it calls itself in ``User-Agent``.
        sleep: Waits so many seconds.

    Raises:
        InvalidAccess: How to reach it makes no sense.
    """

    def __init__(
        self,
        access: Access,
        *,
        timeout_s: float = TIMEOUT_S,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        agent: str = "kdm",
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.access = access
        self._address: Address = access.address()
        self._proxy: Proxy | None = proxy_for(self._address)
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._patience_s = patience_s
        self._agent = agent
        self._sleep = sleep
        self._kept: Connection | None = None
        self._open: set[Connection] = set()
        self._aborted = False
        self._process = ""  # which kdm process answered last
        self._met = False  # whether the server has ever answered

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. The next call makes another one."""
        if self._kept is not None:
            self._open.discard(self._kept)
            self._kept.close()
            self._kept = None

    def abort(self) -> None:
        """Break off what other threads do with this client: it fails at once, and so does whatever is asked later."""
        self._aborted = True
        for connection in list(self._open):
            connection.abort()

    def get(self, path: str, query: Mapping[str, str] | None = None, *, timeout_s: float | None = None) -> Json:
        """Return the body of what is at a path. See :meth:`call`."""
        return self.call("GET", path, query, timeout_s=timeout_s).body

    def items(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Json]:
        """Yield what a list has, page by page. See :meth:`call`.

        Args:
            path: The path of the list.
            query: Its query; ``limit`` is the size of a page.
        """
        asked = dict(query or {})
        while True:
            body = self.get(path, asked)
            yield from body.get("items", ())
            token = body.get("metadata", {}).get("continue")
            if not token:
                return
            asked["continue"] = token

    def call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        fields: Mapping[str, str] | None = None,
        key: str | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """Make a call, and if need be make it again.

        Args:
            method: The HTTP method.
            path: The path, from ``/api/v2`` on, encoded as :func:`deployment_path` does.
            query: The query.
            body: What to send, as JSON has it.
            fields: More header fields.
            key: The Idempotency-Key of a write, without quotes; None for a new one.
            timeout_s: How long an answer may take, in seconds: more than the query's ``wait``; None for the client's.

        Returns:
            The answer.

        Raises:
            InvalidAccess: A file of the client certificate is not what it should be.
            KdmError: What the kdm said, as the error of the core that it is; or that it could not be reached
                (:class:`Unreachable` and those below it), or did not answer after a write was sent (``AnswerLost``).
        """
        sent = {"accept": "application/json", "user-agent": self._agent}
        content = b""
        if method not in SAFE:
            sent["idempotency-key"] = f'"{key or os.urandom(16).hex()}"'
        if body is not None:
            content = json.dumps(body, separators=(",", ":")).encode()
            sent["content-type"] = "application/json"
        sent |= {name.lower(): value for name, value in (fields or {}).items()}
        target = self._target(path, query)
        until = time.monotonic() + self._patience_s
        delay_s = _BACKOFF_S[0]
        process, lost = self._process, None
        while True:
            try:
                if lost is not None and method == "POST":
                    self._once("GET", self._target(BASE, None), {"user-agent": self._agent}, b"", self._timeout_s)
                if lost is None or method != "POST" or self._process == process:
                    return self._once(method, target, sent, content, timeout_s or self._timeout_s)
                until = 0.0
                raise lost
            except KdmError as error:
                lost = error if error.written is None and method not in SAFE else lost
                wait_s = _delay_s(error, delay_s)
                if not self._may_repeat(error, method, sent) or time.monotonic() + wait_s > until:
                    # What another process says, or nobody, tells nothing of the attempt that got no answer.
                    known = problem_of(error) is not None and self._process == process
                    if lost is not None and lost is not error and not known:
                        raise lost  # noqa: B904 - its cause is what the server said
                    raise
            delay_s = min(2 * delay_s, _BACKOFF_S[1])
            self._sleep(wait_s)

    def events(self, path: str, query: Mapping[str, str] | None = None, last_id: str = "") -> Iterator[Event]:
        """Yield the events of a stream until it ends, over a connection of its own. Close the iterator when done.

        Args:
            path: The path of the list that is streamed; ``watch=true`` is added.
            query: Its query.
            last_id: Behind which event to go on; "" for the present state first.

        Raises:
            KdmError: As :meth:`call`; :class:`Unreachable` also where the stream falls silent.
        """
        sent = {"accept": "text/event-stream", "user-agent": self._agent}
        if last_id:
            sent["last-event-id"] = last_id
        connection = self._connect()
        try:
            target = self._target(path, {**(query or {}), "watch": "true"})
            response = connection.ask("GET", target, sent, b"", self._timeout_s)
            self._met = True
            if response.status != 200:
                connection.read("GET", response)
            if not (response.getheader("content-type") or "").lower().startswith("text/event-stream"):
                raise Misdirected(
                    "the answer is not kdm's: it is no stream of events; is the server's URL that of a kdm?"
                )
            yield from connection.events(response)
        finally:
            self._open.discard(connection)
            connection.close()

    def follow(self, path: str, query: Mapping[str, str] | None = None) -> Iterator[Event]:
        """Yield the events of a stream for ever: where it breaks off, it is taken up again behind the last event.

        Between, an event ``interrupted`` says why in its data, as a line of text: what was shown may be old from then
        on, until the next event.

        Raises:
            KdmError: As :meth:`call`, where trying again does not help, or the server never answered.
        """
        last_id, delay_s, seen = "", _BACKOFF_S[0], False
        while True:
            why, wait_s = "the stream ended", _BACKOFF_S[0]
            try:
                for event in self.events(path, query, last_id):
                    last_id, delay_s, seen = event.id, _BACKOFF_S[0], True
                    yield event
            except Unavailable as error:
                if not error.retryable or not self._met or (isinstance(error, ClusterUnrecognized) and not seen):
                    raise
                why, wait_s = str(error), _delay_s(error, delay_s)
            yield Event("interrupted", why.encode(), last_id)
            self._sleep(wait_s)
            delay_s = min(2 * delay_s, _BACKOFF_S[1])

    def _once(self, method: str, target: str, sent: Mapping[str, str], content: bytes, timeout_s: float) -> Answer:
        if self._kept is not None and self._kept.has_ended:
            self.close()
        connection = self._kept = self._kept or self._connect()
        done = False
        try:
            response = connection.ask(method, target, sent, content, timeout_s)
            self._met = done = True
            self._process = process_of(response.getheader("x-request-id") or "")
            return connection.read(method, response)
        finally:
            if not done:
                self.close()

    def _connect(self) -> Connection:
        connection = Connection(self.access, self._address, self._proxy, self._connect_timeout_s)
        self._open.add(connection)
        if self._aborted:
            connection.close()
            raise Misdirected("the client was aborted")
        return connection

    def _may_repeat(self, error: KdmError, method: str, sent: Mapping[str, str]) -> bool:
        problem = problem_of(error)
        if not error.retryable or isinstance(error, NotSeenYet) or (problem is not None and problem.replayed):
            return False
        if not self._met:  # a wrong address is not tried again
            return False
        if isinstance(error, ClusterUnrecognized) and problem is not None and problem.status < 500:
            return False  # a portal or a proxy that lets nobody through; one whose kdm is gone answers with 5xx
        return error.written is False or method in SAFE or (error.written is None and "idempotency-key" in sent)

    def _target(self, path: str, query: Mapping[str, str] | None) -> str:
        asked = f"?{urlencode(query)}" if query else ""
        return f"{self._address.prefix}{path}{asked}"


def process_of(request_id: str) -> str:
    """Return what the ids of all requests that one kdm process answers begin with: all but their counter."""
    return request_id[:8]


def _delay_s(error: KdmError, backoff_s: float) -> float:
    problem = problem_of(error)
    asked_s = error.retry_after_s if isinstance(error, Unavailable) and problem is not None else 0
    return max(float(asked_s), backoff_s) * (1 + 0.2 * random.random())  # noqa: S311 - no secret
