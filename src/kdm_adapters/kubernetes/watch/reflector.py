"""Performs what the watch state decides (wait, list, watch) and reports the outcome to it. Decides nothing itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final, Generic

import aiohttp

from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.api.client import Answer, ApiError, Client
from kdm_adapters.kubernetes.api.errors import explain
from kdm_adapters.kubernetes.api.transport_errors import describe
from kdm_adapters.kubernetes.watch.actions import Action, Ended, ListPage, Opened, TimeUp, Wait, WatchFrom, WatchList
from kdm_adapters.kubernetes.watch.state_machine import WatchState
from kdm_adapters.kubernetes.wire.json_framing import read_page
from kdm_adapters.kubernetes.wire.messages import UNANSWERED, Failure
from kdm_adapters.kubernetes.wire.readers import KindReaders
from kdm_adapters.kubernetes.wire.records import ProtocolError
from kdm_core.ports import WatchInstrument

_log = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often to look whether a stream is overdue, in seconds."""

PIECE_BYTES: Final = 8 * 1024
"""How much is decoded in one go: two or three Deployments, a tenth of a millisecond in which nobody is served. Smaller
pieces take more time in all, and decrypting takes longer by then."""

NEWEST_TIMEOUT_S: Final = 5.0
"""How long the cluster may take to answer with its newest version, in seconds."""


class Reflector(Generic[W]):
    """Keeps one source up to date until cancelled.

    Args:
        state: The state. It says which kind of objects, and of which namespace.
        client: The API server.
        readers: Of that kind. Shared by the reflectors of one repository.
        label_selector: Which objects, in the API's syntax; "" for all.
        verify_every_s: How often to ask for the newest version while the watch state needs it, in seconds.
        instrument: Counts what could not be decoded.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        state: WatchState[W],
        client: Client,
        readers: KindReaders[W],
        *,
        label_selector: str = "",
        verify_every_s: float = 5.0,
        instrument: WatchInstrument | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._state = state
        self._client = client
        self._readers = readers
        self._path = state.resource.path(state.namespace)
        self._selector = {"labelSelector": label_selector} if label_selector else {}
        self._verify_every_s = verify_every_s
        self._instrument = instrument or WatchInstrument()
        self._clock = clock
        self._sleep = sleep
        self._resting: asyncio.Timeout | None = None

    async def run(self) -> None:
        """Run for ever. Cancelling ends it at once, whatever it is doing."""
        while True:
            action = self._state.next_action(self._clock())
            if isinstance(action, Wait):
                await self._rest(action.seconds)
            else:
                await self._perform(action)

    def wake(self) -> None:
        """End a wait: the watch state has been reset."""
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
        verb, accept = (
            ("list", self._readers.list_accept)
            if isinstance(action, ListPage)
            else ("watch", self._readers.watch_accept)
        )
        query = action.query() | self._selector
        try:
            async with self._deadline(), self._client.stream(verb, self._path, query, accept) as answer:
                await (self._list(answer) if isinstance(action, ListPage) else self._watch(answer))
        except TimeoutError:
            self._state.apply(TimeUp(), max(self._clock(), self._state.deadline))
        except ApiError as error:
            message = explain(error.failure, verb, self._state.resource.plural)
            self._fail(action, error.failure._replace(message=message))
        except ProtocolError as error:
            self._instrument.event_undecodable(self._state.source)
            self._fail(action, Failure(200, "Garbage", self._client.mask(str(error))))
        except Exception as error:  # noqa: BLE001 - a defect must not freeze the cache: relist after a backoff
            _log.exception("%s: unexpected", self._state.source)
            self._fail(action, Failure(500, "Internal", f"unexpected {type(error).__name__}"))

    def _fail(self, action: Action, failure: Failure) -> None:
        _log.warning("%s: %s: %s", self._state.source, type(action).__name__, failure.message)
        self._state.apply(failure, self._clock())

    async def _list(self, answer: Answer) -> None:
        reader = self._readers.list(answer.media_type)
        try:
            while chunk := await answer.body.readany():
                self._state.heard(self._clock())
                for piece in _pieces(chunk):
                    if page := reader.feed(piece):
                        self._state.apply(page, self._clock())
                    await _let_others(chunk)
        except (aiohttp.ClientError, OSError) as error:
            raise ApiError(Failure(0, UNANSWERED, f"the answer broke off: {describe(error)}")) from error
        self._state.apply(reader.end(), self._clock())

    async def _watch(self, answer: Answer) -> None:
        state, reader = self._state, self._readers.events(answer.media_type)
        state.apply(Opened(), self._clock())
        async with self._verifying():
            while True:
                try:
                    chunk = await answer.body.readany()
                except (aiohttp.ClientError, OSError) as error:
                    state.apply(Ended(f"the stream broke off: {describe(error)}"), self._clock())
                    return
                now = self._clock()
                if not chunk:
                    state.apply(Ended("it ended within an event" if reader.rest_bytes else ""), now)
                    return
                state.heard(now)
                for piece in _pieces(chunk):
                    for message in reader.feed(piece):
                        if isinstance(message, Failure):
                            message = self._client.masked(message)  # noqa: PLW2901
                        state.apply(message, now)
                        if not state.streaming:
                            return
                    await _let_others(chunk)

    @asynccontextmanager
    async def _verifying(self) -> AsyncIterator[None]:
        """Ask for the newest version beside the watch, for as long as the watch state needs it."""
        if not self._state.unproven:
            yield
            return
        task = asyncio.create_task(self._verify(), name=f"kdm-verify-{self._state.source}")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _verify(self) -> None:
        state = self._state
        while unproven := state.unproven:
            try:
                state.newest(await self._newest(), unproven, self._clock())
            except (ApiError, ProtocolError) as error:
                problem = self._client.mask(str(error))
                _log.warning("%s: the cluster's newest version cannot be read: %s", state.source, problem)
                state.newest_unknown("its newest version cannot be read")
            if state.unproven:
                await self._sleep(self._verify_every_s)

    async def _newest(self) -> str:
        """Return the newest version. Without a version of its own the list is a consistent read, behind no cache.

        Without the selector: to find one object that matches, the API server might have to search through all.
        """
        body = await self._client.request("list", "GET", self._path, {"limit": "1"}, timeout_s=NEWEST_TIMEOUT_S)
        return read_page(body, self._readers.json).resource_version

    @asynccontextmanager
    async def _deadline(self) -> AsyncIterator[None]:
        """Raise TimeoutError inside once the watch state's deadline has passed, wherever it moves meanwhile.

        Checked now and then. A timer that is set again with every chunk would cost more than decoding it.
        """
        loop = asyncio.get_running_loop()
        timer: asyncio.Handle

        def look() -> None:
            nonlocal timer
            left_s = self._state.deadline - self._clock()
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
