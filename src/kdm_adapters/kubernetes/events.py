"""Announces changes as Kubernetes Events: ``kubectl describe deployment`` shows who scaled it through kdm, and why.

Events are for people and may be missing. So nothing waits for them: a queue of bounded length, one request at a time,
and what cannot be announced is counted. A busy writer is kept from flooding the cluster by the token bucket of
client-go's event correlator (``k8s.io/client-go/tools/record/events_cache.go``); what it holds back of a Deployment is
counted in the next Event's note.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from attrs import define

from kdm_adapters.ending import stop
from kdm_adapters.kubernetes.api.client import ApiError, Client, Patch
from kdm_adapters.kubernetes.wire.words import plain
from kdm_core.attribution import FIELD_MANAGER
from kdm_core.history import CountChange
from kdm_core.ports import Announcer, EventInstrument

BURST: Final = 25
REFILL_S: Final = 300.0
"""How many Events of one Deployment may come at once, and how long it takes, in seconds, until there may be one more:
client-go's ``defaultSpamBurst`` and ``defaultSpamQPS``."""

BUCKETS: Final = 4096
"""How many Deployments are counted apart at a time: client-go's ``maxLruCacheEntries``."""

QUEUED: Final = 1000
"""How many Events wait at most: client-go's ``maxQueuedEvents``."""

TRIES: Final = 3
RETRY_S: Final = 10.0
"""How often an Event is tried, and how long kdm waits in between, in seconds, where the cluster cannot take it now.
client-go tries 12 times; Events that are two minutes late help nobody."""

TIMEOUT_S: Final = 5.0

NOTE_BYTES: Final = 1024
"""The longest note that the API server takes, in bytes (``NoteLengthLimit`` of its validation)."""

NAME_CHARS: Final = 253 - 17
"""How much of a Deployment's name fits into an Event's: a point and 16 digits follow it, in client-go's way."""

INSTANCE_CHARS: Final = 128
"""The longest ``reportingInstance``, in characters."""

_REFUSED: Final = frozenset({400, 401, 403, 404, 405, 413, 422})
"""Statuses that another try does not change."""

_log = logging.getLogger(__name__)


@define
class _Bucket:
    """What may be announced of one Deployment.

    Attributes:
        tokens: How many Events, at ``at``.
        at: When that was so, in seconds on any monotonic clock.
        held_back: How many changes were not announced since the newest Event.
    """

    tokens: float
    at: float
    held_back: int = 0


class EventAnnouncer(Announcer):
    """Creates Events of ``events.k8s.io/v1``. An async context manager: entering it begins to send.

    Args:
        client: The API server; closed in the end. Its identity needs the right to create Events.
        instance: What sends: the Pod's name.
        instrument: Counts what was announced, and what was not.
        clock: Monotonic seconds.
        wall: Seconds since 1970.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        client: Client,
        *,
        instance: str,
        instrument: EventInstrument | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._instance = instance[:INSTANCE_CHARS] or FIELD_MANAGER
        self._instrument = instrument or EventInstrument()
        self._clock = clock
        self._wall = wall
        self._sleep = sleep
        self._queue: deque[tuple[CountChange, int, float]] = deque()
        self._woken = asyncio.Event()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._told = ""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="kdm-events")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        await stop([] if self._task is None else [self._task], self._close, "the cluster")

    async def _close(self) -> None:
        for _ in self._queue:
            self._instrument.event_dropped("stopped")
        self._queue.clear()
        await self._client.close()

    def announce(self, change: CountChange) -> None:
        """See the port."""
        bucket = self._bucket_of(change.uid)
        if bucket.tokens < 1:
            bucket.held_back += 1
            self._instrument.event_dropped("rate")
        elif len(self._queue) >= QUEUED:
            bucket.held_back += 1
            self._instrument.event_dropped("queue")
        else:
            bucket.tokens -= 1
            self._queue.append((change, bucket.held_back, self._wall()))
            bucket.held_back = 0
            self._woken.set()

    def _bucket_of(self, uid: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(uid)
        if bucket is None:
            bucket = self._buckets[uid] = _Bucket(BURST, now)
            if len(self._buckets) > BUCKETS:
                self._buckets.popitem(last=False)
        bucket.tokens, bucket.at = min(BURST, bucket.tokens + (now - bucket.at) / REFILL_S), now
        self._buckets.move_to_end(uid)
        return bucket

    async def _run(self) -> None:
        while True:
            while not self._queue:
                self._woken.clear()
                await self._woken.wait()
            change, held_back, at = self._queue.popleft()
            try:
                await self._send(change, held_back, at)
            except Exception:  # noqa: BLE001 - one that cannot be made must not end all others
                _log.exception("an Event could not be made")
                self._instrument.event_dropped("failed")

    async def _send(self, change: CountChange, held_back: int, at: float) -> None:
        event = event_of(change, held_back, at, self._instance)
        path = f"/apis/events.k8s.io/v1/namespaces/{change.ref.namespace}/events"
        for tried in range(1, TRIES + 1):
            try:
                await self._client.request(
                    "create", "POST", path, patch=Patch("application/json", event), timeout_s=TIMEOUT_S
                )
            except ApiError as error:
                if error.failure.code == 409:  # an earlier try arrived, and its answer did not: its name is the same
                    break
                self._tell(str(error))
                if error.failure.code in _REFUSED or tried == TRIES:
                    self._instrument.event_dropped("refused" if error.failure.code in _REFUSED else "failed")
                    return
                await self._sleep(RETRY_S)
            else:
                break
        self._told = ""
        self._instrument.event_announced()

    def _tell(self, problem: str) -> None:
        """Log a problem once, until it is another one or over."""
        if problem != self._told:
            _log.warning("changes cannot be announced as Kubernetes Events: %s", problem)
        self._told = problem


def event_of(change: CountChange, held_back: int, at: float, instance: str) -> dict[str, object]:
    """Return the Event that announces a change.

    Args:
        change: The change.
        held_back: How many changes of the Deployment before it were not announced.
        at: When it was made, in seconds since 1970.
        instance: What announces it.
    """
    micros = int(at * 1_000_000)
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(micros // 1_000_000))
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": _name(change, micros), "namespace": change.ref.namespace},
        "eventTime": f"{seconds}.{micros % 1_000_000:06d}Z",  # metav1.MicroTime
        "reportingController": FIELD_MANAGER,
        "reportingInstance": instance,
        "action": "Scale",
        "reason": "ScaledByKdm",
        "type": "Normal",
        "regarding": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "namespace": change.ref.namespace,
            "name": change.ref.name,
            "uid": change.uid,
        },
        "note": note_of(change, held_back),
    }


def note_of(change: CountChange, held_back: int = 0) -> str:
    """Return what an Event says, in at most ``NOTE_BYTES``."""
    before = "" if change.previous is None else f" from {change.previous}"
    words = f"{plain(change.actor, 256)} scaled it{before} to {change.desired}"
    if change.batch:
        words += f" (batch {plain(change.batch, 64)})"
    if held_back:
        words += f", after {held_back} changes that were not announced"
    if change.reason:
        words += f": {plain(change.reason, 256)}"
    return words.encode()[:NOTE_BYTES].decode(errors="ignore")


def _name(change: CountChange, micros: int) -> str:
    version = int(change.resource_version) if change.resource_version.isdecimal() else 0
    return f"{change.ref.name[:NAME_CHARS].rstrip('-.')}.{micros * 1000 + version % 1000:016x}"
