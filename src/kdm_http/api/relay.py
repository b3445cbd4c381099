"""Shows a client how its request gets on, as server-sent events, and then its answer.

The request is answered as any other: its deadline, its errors and its Idempotency-Key are those of an answer in one
piece. What fails before it has begun is answered in one piece, with its status.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, Receive, Scope, Send

from kdm_http.api.dispatch import Answer
from kdm_http.api.progress import Progress
from kdm_http.api.route import Stream
from kdm_http.api.stream import frames
from kdm_http.api.stream.session import FIELDS

HEARTBEAT_S: Final = 15.0
"""After how many quiet seconds a comment is sent, so that no proxy takes the connection for dead."""

_REPLAYED: Final = b"idempotency-replayed: true\r\n"


async def relayed(progress: Progress, answering: Coroutine[Any, Any, Answer | Stream]) -> Answer | Stream:
    """Return the answer where it is an error before anything was said, else a stream of what is said and the answer.

    Args:
        progress: What is said.
        answering: Answers the request; raises nothing.
    """
    task = asyncio.ensure_future(answering)
    said = asyncio.ensure_future(progress.said())
    try:
        await asyncio.wait({task, said}, return_when=asyncio.FIRST_COMPLETED)
    except asyncio.CancelledError:
        task.cancel()
        raise
    finally:
        said.cancel()
    if not said.done() or said.cancelled():
        answer = task.result()
        if isinstance(answer, Stream) or answer.status >= 400:
            return answer
    return Stream(Relay(progress, task))


class Relay:
    """An ASGI application that sends the events of one request.

    Args:
        progress: What is said.
        answering: Answers the request.
    """

    def __init__(self, progress: Progress, answering: asyncio.Future[Answer | Stream]) -> None:
        self._progress = progress
        self._answering = answering

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request. A client that left is written to in vain: what it asked for says when it is over."""
        del scope, receive
        replayed = [(b"idempotency-replayed", b"true")] if self._is_replayed() else []
        await send(HTTPResponseStartEvent(type="http.response.start", status=200, headers=[*FIELDS, *replayed]))
        try:
            while not self._answering.done():
                await self._write(self._progress.take() or await self._next(), send)
            await self._write(self._progress.take() + _last(self._answering.result()), send, last=True)
        finally:
            self._answering.cancel()

    async def _next(self) -> bytes:
        """Return what is said next; a comment where nothing is said for a while."""
        said = asyncio.ensure_future(self._progress.said())
        either: set[asyncio.Future[Any]] = {said, self._answering}
        done, _ = await asyncio.wait(either, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED)
        said.cancel()
        return self._progress.take() if done else frames.COMMENT

    def _is_replayed(self) -> bool:
        if not self._answering.done():
            return False
        answer = self._answering.result()
        return isinstance(answer, Answer) and _REPLAYED in answer.head

    @staticmethod
    async def _write(data: bytes, send: Send, *, last: bool = False) -> None:
        if data or last:
            await send(HTTPResponseBodyEvent(type="http.response.body", body=data, more_body=not last))


def _last(answer: Answer | Stream) -> bytes:
    """Return the last event: the answer itself."""
    assert isinstance(answer, Answer)  # noqa: S101 - what gets on in steps is no endless stream
    return frames.event(frames.DONE if answer.status < 400 else frames.ERROR, answer.body)
