"""The records of parked Deployments in ConfigMaps, compared and set by resourceVersion, and followed by a watch."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from types import TracebackType
from typing import Final, Self

from kdm_adapters.cache.freshness import ageing_clock
from kdm_adapters.cache.store import ObjectStore
from kdm_adapters.ending import stop
from kdm_adapters.kubernetes.api.client import Client
from kdm_adapters.kubernetes.api.resources import CONFIG_MAPS
from kdm_adapters.kubernetes.config.credentials import ClusterConfig, Credentials
from kdm_adapters.kubernetes.parking.config_maps import LABELS, ConfigMaps
from kdm_adapters.kubernetes.parking.records import MAX_BYTES, Unreadable, decode, encode, key_of, shard_names, shard_of
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.watch.watches import Watches
from kdm_adapters.kubernetes.wire.config_maps import ConfigMap, decoder
from kdm_adapters.kubernetes.wire.readers import JsonReaders
from kdm_core.errors import CacheNotSynced, ClusterOverloaded, KdmError, ParkingFull, ParkingRecordUnreadable
from kdm_core.model import ChangeKind, DeploymentRef
from kdm_core.names import check_namespace
from kdm_core.parked import Parked
from kdm_core.ports import ParkingLot, WatchInstrument
from kdm_core.versions import older

TIMEOUT_S: Final = 10.0
"""How long a request may take, in seconds."""

MAX_ATTEMPTS: Final = 30
"""How often a record is tried to be written where others write to the same ConfigMap all the time."""

MAX_PAUSE_S: Final = 0.2
"""The longest pause between two attempts, in seconds; drawn from zero to that."""

_SELECTOR: Final = ",".join(f"{name}={value}" for name, value in LABELS.items())

_log = logging.getLogger(__name__)


class ConfigMapParkingLot(ParkingLot):
    """Records in 16 ConfigMaps, by a hash of the Deployment's namespace; each is made when it is first needed.

    They survive every kdm, and several kdm may share them: the API server decides who was first. What is no record is
    never touched, and one that cannot be read is kept until a person has looked at it.

    Args:
        config: Which cluster, as which identity.
        namespace: Where the ConfigMaps are.
        timeout_s: How long a request may take, in seconds.
        instrument: Reports what happens.
        tuning: The watch's numbers.
        clock: Monotonic seconds.
        sleep: Waits so many seconds.
        rng: For jitter.

    Raises:
        InvalidName: ``namespace`` is none.
        InvalidClusterConfig: The cluster's configuration does not exist or makes no sense.
    """

    def __init__(
        self,
        config: ClusterConfig | None,
        namespace: str,
        *,
        timeout_s: float = TIMEOUT_S,
        instrument: WatchInstrument | None = None,
        tuning: Tuning | None = None,
        clock: Callable[[], float] = ageing_clock,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Random | None = None,
    ) -> None:
        check_namespace(namespace)
        instrument = instrument or WatchInstrument()
        self._client = Client(Credentials(config or ClusterConfig()), instrument, on_server_changed=self._reset)
        self._config_maps = ConfigMaps(self._client, namespace, timeout_s)
        self._sleep = sleep
        self._rng = rng or Random()  # noqa: S311 - jitter
        self._synced = False
        self._tasks: list[asyncio.Task[None]] = []
        self._searches: set[asyncio.Task[None]] = set()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._seen: dict[str, ConfigMap] = {}
        self._watched_last: dict[str, ConfigMap] = {}
        self._records: dict[str, dict[str, tuple[DeploymentRef, Parked] | None]] = {}
        store = ObjectStore[ConfigMap]()
        store.on_change = self._watched
        self._watches = Watches(
            store,
            self._client,
            JsonReaders(decoder()),
            (namespace,),
            resource=CONFIG_MAPS,
            label_selector=_SELECTOR,
            tuning=tuning,
            instrument=instrument,
            clock=clock,
            sleep=sleep,
            rng=rng,
            on_synced=self._on_synced,
        )

    async def __aenter__(self) -> Self:
        """See the port."""
        for work, name in self._watches.work():
            self._tasks.append(asyncio.create_task(work, name=name))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """See the port."""
        self._watches.stop()
        await stop([*self._tasks, *self._searches], self._client.close, "the cluster")

    def list(self) -> tuple[tuple[DeploymentRef, Parked], ...]:
        """See the port."""
        if not self._synced:
            raise CacheNotSynced("it is not known yet what is parked: the ConfigMaps have not been read")
        found = [each for records in self._records.values() for each in records.values() if each is not None]
        return tuple(sorted(found, key=lambda each: each[0]))

    def unreadable(self) -> tuple[str, ...]:
        """See the port."""
        return tuple(
            f"{self._config_maps.where(name)}, key '{key}'"
            for name, records in sorted(self._records.items())
            for key, record in sorted(records.items())
            if record is None
        )

    async def read(self, ref: DeploymentRef) -> Parked | None:
        """See the port. One request."""
        name = shard_of(ref.namespace)
        return self._record(ref, name, await self._get(name))

    async def swap(self, ref: DeploymentRef, expected: Parked | None, new: Parked | None) -> bool:
        """See the port. One request, where nobody else has written to the ConfigMap since it was last seen."""
        name = shard_of(ref.namespace)
        async with self._turns[name]:
            try:
                return await self._swap(ref, name, expected, new)
            except KdmError as error:
                self._seen.pop(name, None)  # it may have been written
                error.written = False
                raise

    async def _swap(self, ref: DeploymentRef, name: str, expected: Parked | None, new: Parked | None) -> bool:
        key, value = key_of(ref), None if new is None else encode(ref, new)
        found, fresh = self._seen.get(name), False
        for _ in range(MAX_ATTEMPTS):
            if found is None and not fresh:
                found, fresh = await self._get(name), True
            if self._record(ref, name, found) != expected:
                if fresh:
                    return False
                found = None  # what was seen last may be old
                continue
            if new == expected:
                return True
            self._check_room(name, found, key, value)
            if found is not None:
                written = await self._config_maps.change(found, key, value)
            else:
                assert value is not None  # noqa: S101 - or nothing would be expected, and nothing new
                written = await self._config_maps.create(name, key, value)
            if written is not None:
                self._take(written)
                return True
            found, fresh = None, False
            await self._sleep(self._rng.uniform(0, MAX_PAUSE_S))
        raise ClusterOverloaded(f"{self._config_maps.where(name)} is written to by others all the time")

    async def _get(self, name: str) -> ConfigMap | None:
        found = await self._config_maps.get(name)
        if found is not None:
            self._take(found)
        return found

    def _record(self, ref: DeploymentRef, name: str, found: ConfigMap | None) -> Parked | None:
        key = key_of(ref)
        text = None if found is None else found.data.get(key)
        if text is None:
            return None
        try:
            return decode(key, text)[1]
        except Unreadable as error:
            where = f"{self._config_maps.where(name)}, key '{key}'"
            raise ParkingRecordUnreadable(ref, where, str(error)) from error

    def _check_room(self, name: str, found: ConfigMap | None, key: str, value: str | None) -> None:
        if value is None or found is None:
            return
        size = sum(len(each) + len(text.encode()) for each, text in found.data.items() if each != key)
        if size + len(key) + len(value.encode()) > MAX_BYTES:
            raise ParkingFull(self._config_maps.where(name), f"{MAX_BYTES} bytes; restore some, or delete old keys")

    def _watched(self, kind: ChangeKind, found: ConfigMap) -> None:
        name, before = found.ref.name, self._watched_last.pop(found.ref.name, None)
        if kind is not ChangeKind.DELETED:
            self._watched_last[name] = found
            if (
                before is not None
                and before.uid == found.uid
                and older(found.resource_version, before.resource_version)
            ):
                self._seen.pop(name, None)  # the cluster went back: what was seen is no more
            self._take(found)
        elif (seen := self._seen.get(name)) is None or seen.uid == found.uid:
            self._search((name,))

    def _search(self, names: Sequence[str]) -> None:
        """Look by name for ConfigMaps that the watch does not show: to a watch, one without its labels is gone."""
        task = asyncio.create_task(self._find(names), name="kdm-parking-search")
        self._searches.add(task)
        task.add_done_callback(self._searches.discard)

    async def _find(self, names: Sequence[str]) -> None:
        epoch = self._client.epoch
        found = await asyncio.gather(*(self._lost(each) for each in names))
        if epoch != self._client.epoch:
            return  # it was another cluster
        for name, there in zip(names, found, strict=True):
            if there is None and name not in self._watched_last:
                self._seen.pop(name, None)
                self._show(name, {})

    async def _lost(self, name: str) -> ConfigMap | None:
        """Return one that exists though the watch does not show it, and give it its labels back."""
        try:
            found = await self._get(name)
            if found is not None and name not in self._watched_last:
                _log.warning(
                    "%s has lost the labels that kdm finds it by; they are set again", self._config_maps.where(name)
                )
                await self._config_maps.label(found)
        except KdmError as error:
            _log.warning("%s: %s", self._config_maps.where(name), error)
            return None
        return found

    def _take(self, found: ConfigMap) -> None:
        """Take in a ConfigMap, unless a newer state of it has been seen."""
        name = found.ref.name
        seen = self._seen.get(name)
        if seen is not None and seen.uid == found.uid and older(found.resource_version, seen.resource_version):
            return
        self._seen[name] = found
        before = {} if seen is None else seen.data
        records = self._records.get(name, {})
        self._show(
            name,
            {
                key: records[key] if key in records and before.get(key) == text else self._readable(name, key, text)
                for key, text in found.data.items()
            },
        )

    def _readable(self, name: str, key: str, text: str) -> tuple[DeploymentRef, Parked] | None:
        try:
            ref, parked = decode(key, text)
        except Unreadable as error:
            _log.warning("%s, key '%s' is no record: %s", self._config_maps.where(name), key, error)
            return None
        if shard_of(ref.namespace) != name:
            _log.warning("%s, key '%s' belongs into %s", self._config_maps.where(name), key, shard_of(ref.namespace))
            return None
        return ref, parked

    def _show(self, name: str, records: dict[str, tuple[DeploymentRef, Parked] | None]) -> None:
        before, self._records[name] = self._records.get(name, {}), records
        for key in before.keys() | records.keys():
            was, now = before.get(key), records.get(key)
            if was == now:
                continue
            if now is not None:
                self.on_change(*now)
            elif was is not None:
                self.on_change(was[0], None)

    def _on_synced(self, _namespace: str | None) -> None:
        self._synced = True  # what the search finds comes a moment later: that is rare, and reads need not wait for it
        self._search([each for each in shard_names() if each not in self._watched_last])

    def _reset(self) -> None:
        """Forget everything and read it again: what is held is what another server said."""
        self._synced = False
        self._seen.clear()
        self._watched_last.clear()
        for name in list(self._records):
            self._show(name, {})
        self._watches.reset()
