"""Performs what a view decides, waiting, listing and watching, and tells it what came of it. Decides nothing itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from kdm_adapters.kubernetes.api.client import Answer, ApiError, Client
from kdm_adapters.kubernetes.api.errors import explain
from kdm_adapters.kubernetes.api.transport_errors import describe
from kdm_adapters.kubernetes.watch.actions import Action, Ended, ListPage, Opened, TimeUp, Wait, WatchFrom, WatchList
from kdm_adapters.kubernetes.watch.state_machine import View
from kdm_adapters.kubernetes.wire.json_framing import read_page
from kdm_adapters.kubernetes.wire.messages import UNANSWERED, Failure
from kdm_adapters.kubernetes.wire.readers import LIST_ACCEPT, WATCH_ACCEPT, Readers
from kdm_adapters.kubernetes.wire.records import Garbage
from kdm_core.ports import WatchInstrument

_log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often to look whether a stream is overdue, in seconds."""

PIECE_BYTES: Final = 32 * 1024
"""How much is decoded in one go: some seven Deployments, a quarter of a millisecond in which nobody is served."""

NEWEST_TIMEOUT_S: Final = 5.0
"""How long the cluster may take to tell its newest version, in seconds."""

ALL_NAMESPACES_PATH: Final = "/apis/apps/v1/deployments"


def deployments_path(namespace: str | None) -> str:
    """Return the API's path of the Deployments of a namespace, or of all for None."""
    return ALL_NAMESPACES_PATH if namespace is None else f"/apis/apps/v1/namespaces/{namespace}/deployments"


class Reflector:
    """Keeps one view up to date until cancelled.

    Args:
        view: The view.
        client: The API server.
        readers: Shared by the reflectors of one repository.
        label_selector: Which Deployments, in the API's syntax; "" for all.
        verify_every_s: How often to ask for the newest version while the view needs it, in seconds.
        instrument: Told what could not be decoded.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        view: View,
        client: Client,
        readers: Readers,
        *,
        label_selector: str = "",
        verify_every_s: float = 5.0,
        instrument: WatchInstrument | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._view = view
        self._client = client
        self._readers = readers
        self._path = deployments_path(view.namespace)
        self._selector = {"labelSelector": label_selector} if label_selector else {}
        self._verify_every_s = verify_every_s
        self._instrument = instrument or WatchInstrument()
        self._clock = clock
        self._sleep = sleep
        self._resting: asyncio.Timeout | None = None

    async def run(self) -> None:
        """Run for ever. Cancelling ends it at once, whatever it is doing."""
        while True:
            action = self._view.next_action(self._clock())
            if isinstance(action, Wait):
                await self._rest(action.seconds)
            else:
                await self._perform(action)

    def wake(self) -> None:
        """Ask the view at once what to do, if it had nothing to be done for a while: it has been reset."""
        if self._resting is not None:
            self._resting.reschedule(asyncio.get_running_loop().time())

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(None) as self._resting:
                await self._sleep(seconds)
        except TimeoutError:
            return
        finally:
            self._resting = None

    async def _perform(self, action: ListPage | WatchList | WatchFrom) -> None:
        verb, accept = ("list", LIST_ACCEPT) if isinstance(action, ListPage) else ("watch", WATCH_ACCEPT)
        query = action.query() | self._selector
        try:
            async with self._deadline(), self._client.stream(verb, self._path, query, accept) as answer:
                await (self._list(answer) if isinstance(action, ListPage) else self._watch(answer))
        except TimeoutError:
            self._view.apply(TimeUp(), max(self._clock(), self._view.deadline))
        except ApiError as error:
            message = explain(error.failure, verb, "deployments")
            self._fail(action, error.failure._replace(message=message))
        except Garbage as error:
            self._instrument.event_undecodable(self._view.source)
            self._fail(action, Failure(200, "Garbage", self._client.mask(str(error))))
        except Exception as error:  # noqa: BLE001 - a defect must not freeze the cache: it is read anew, after a backoff
            _log.exception("%s: unexpected", self._view.source)
            self._fail(action, Failure(500, "Internal", f"unexpected {type(error).__name__}"))

    def _fail(self, action: Action, failure: Failure) -> None:
        _log.warning("%s: %s: %s", self._view.source, type(action).__name__, failure.message)
        self._view.apply(failure, self._clock())

    async def _list(self, answer: Answer) -> None:
        reader = self._readers.list(answer.media_type)
        try:
            while chunk := await answer.body.readany():
                self._view.heard(self._clock())
                for piece in _pieces(chunk):
                    if page := reader.feed(piece):
                        self._view.apply(page, self._clock())
                    await _let_others(chunk)
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(Failure(0, UNANSWERED, f"the answer broke off: {describe(error)}")) from error
        self._view.apply(reader.end(), self._clock())

    async def _watch(self, answer: Answer) -> None:
        view, reader = self._view, self._readers.events(answer.media_type)
        view.apply(Opened(), self._clock())
        async with self._verifying():
            while True:
                try:
                    chunk = await answer.body.readany()
                except (aiohttp.ClientError, OSError) as error:
                    view.apply(Ended(f"the stream broke off: {describe(error)}"), self._clock())
                    return
                now = self._clock()
                if not chunk:
                    view.apply(Ended("it ended within an event" if reader.rest_bytes else ""), now)
                    return
                view.heard(now)
                for piece in _pieces(chunk):
                    for message in reader.feed(piece):
                        if isinstance(message, Failure):
                            message = self._client.masked(message)  # noqa: PLW2901
                        view.apply(message, now)
                        if not view.streaming:
                            return
                    await _let_others(chunk)

    @asynccontextmanager
    async def _verifying(self) -> AsyncIterator[None]:
        """Ask for the newest version beside the watch, for as long as the view needs it."""
        if not self._view.unproven:
            yield
            return
        task = asyncio.create_task(self._verify(), name=f"kdm-verify-{self._view.source}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _verify(self) -> None:
        view = self._view
        while unproven := view.unproven:
            try:
                view.newest(await self._newest(), unproven, self._clock())
            except (ApiError, Garbage) as error:
                told = self._client.mask(str(error))
                _log.warning("%s: the cluster does not tell its newest version: %s", view.source, told)
                view.newest_unknown("its newest version cannot be read")
            if view.unproven:
                await self._sleep(self._verify_every_s)

    async def _newest(self) -> str:
        """Return the newest version. Without a version of its own the list is a consistent read, behind no cache.

        Without the selector: to find one object that matches, the API server might have to search through all.
        """
        body = await self._client.request("list", "GET", self._path, {"limit": "1"}, timeout_s=NEWEST_TIMEOUT_S)
        return read_page(body, self._readers.json).resource_version

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Raise TimeoutError inside once the view's deadline has passed, wherever it moves meanwhile.

        Looked at now and then, in place of a timer set anew with every chunk: that would cost more than decoding it.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.Handle

        def look() -> None:
            nonlocal timer
            left_s = self._view.deadline - self._clock()
            if left_s <= 0:
                limit.reschedule(loop.time())
            else:
                timer = loop.call_later(min(left_s, LOOK_S), look)

        timer = loop.call_soon(look)
        try:
            async with asyncio.timeout(None) as limit:
                yield
        finally:
            timer.cancel()


def _pieces(chunk: bytes) -> Iterator[bytes]:
    return (chunk[begin : begin + PIECE_BYTES] for begin in range(0, len(chunk), PIECE_BYTES))


async def _let_others(chunk: bytes) -> None:
    """Let others be served, if what came was more than one piece."""
    if len(chunk) > PIECE_BYTES:
        await asyncio.sleep(0)
