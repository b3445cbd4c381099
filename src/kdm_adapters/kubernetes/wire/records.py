"""Deployments from what was decoded, sharing what is alike, so that one costs little more than its names.

Nothing here knows a wire format: the same object as JSON and as Protocol Buffers becomes the same record.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from kdm_adapters.kubernetes.wire.marks import NO_MARKS, Marks, newest, owners
from kdm_adapters.kubernetes.wire.words import plain
from kdm_core.attribution import LastChange
from kdm_core.labels import NO_LABELS, Labels
from kdm_core.model import Deployment, DeploymentCondition, DeploymentRef, ReplicaStatus
from kdm_core.owners import Owner

SHARED: Final = 1024
"""How many strings, label maps and counts are remembered for sharing, each. When full, they are forgotten."""

MAX_OBJECT_BYTES: Final = 32 * 2**20
"""Longest object accepted, in bytes. etcd stores objects of at most 1.5 MiB; their JSON is a few times that."""


MAX_CONDITION_CHARS: Final = 512
"""How much of a condition's message is kept, in characters: a quota that is exceeded needs some 150."""

MAX_NAME_CHARS: Final = 256
"""How much of a field manager's name is kept, in characters: the API server allows 128."""

Condition = tuple[str, str, str, str]
"""A condition as it comes: type, status, reason and message."""


class ProtocolError(Exception):
    """What arrived is not the Kubernetes API at all: an error page, a truncated answer, another protocol."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))  # it may quote what came


class Records:
    """Makes Deployments that share what they can. One for all the readers of a repository.

    Args:
        known: Returns the Deployment held under a namespace and name, if any. Its strings and labels are used again.
        owners: Whether to look for who else changes a Deployment's count.
        now: Seconds since 1970: when a change arrives of which the cluster keeps no time.

    Attributes:
        owners: The same.
    """

    def __init__(
        self,
        known: Callable[[str, str], Deployment | None] = lambda _namespace, _name: None,
        *,
        owners: bool = False,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.owners = owners
        self._known = known
        self._now = now
        self._strings: dict[str, str] = {}
        self._labels: dict[bytes, Mapping[str, str]] = {}
        self._conditions: dict[tuple[str, str, str], DeploymentCondition] = {}
        self._replicas: dict[tuple[int, int, int, int, int], ReplicaStatus] = {}
        self._owners: dict[tuple[Owner, ...], tuple[Owner, ...]] = {}
        self._managers: dict[str, str] = {}
        self._last_changes: dict[tuple[str, int], LastChange] = {}

    def deployment(  # noqa: PLR0917 - by position, for it is called for each object
        self,
        kind: str,
        namespace: str,
        name: str,
        uid: str,
        resource_version: str,
        generation: int,
        observed_generation: int,
        counts: tuple[int | None, int, int, int, int],
        paused: bool,
        labels: bytes,
        read_labels: Callable[[bytes], Mapping[str, str]],
        conditions: Iterable[Condition] = (),
        marks: Marks = NO_MARKS,
    ) -> Deployment:
        """Return a Deployment of these fields.

        Args:
            kind: What the object calls itself; "" where it does not, as within a list.
            namespace: Its namespace.
            name: Its name.
            uid: Its UID.
            resource_version: Its version.
            generation: Of its spec.
            observed_generation: Of its status.
            counts: Replicas desired (None where absent), current, updated, ready and available.
            paused: Whether it is paused.
            labels: Its labels, undecoded.
            read_labels: Decodes them, unless the same ones came recently.
            conditions: Of its status, in their order.
            marks: Who sets its count, as far as its metadata says so.

        Raises:
            ValueError: It is not a Deployment, or not a valid one.
        """
        if kind not in {"Deployment", ""}:
            raise ValueError(f"a {kind}, not a Deployment")
        if not (name and namespace and uid and resource_version):
            raise ValueError("it lacks a namespace, name, uid or resourceVersion")
        held = self._known(namespace, name)
        progressing = replica_failure = None
        for named, status, reason, message in conditions:  # the first of a kind counts, as it does for kubectl
            if named == "Progressing" and progressing is None:
                progressing = self._condition(status, reason, "" if status == "True" else message)
            elif named == "ReplicaFailure" and replica_failure is None:
                replica_failure = self._condition(status, reason, message if status == "True" else "")
        shared_labels = self._label_map(labels, read_labels, held)
        replicas = self._counts(*counts)
        return Deployment(
            DeploymentRef(self._string(namespace), self._string(name)) if held is None else held.ref,
            uid if held is None or held.uid != uid else held.uid,
            resource_version,
            generation,
            observed_generation,
            replicas,
            paused,
            shared_labels,
            progressing,
            replica_failure,
            self._owned(owners(marks, shared_labels, namespace, name)) if self.owners else (),
            self._last_change(marks, held, replicas.desired),
        )

    def _owned(self, found: tuple[Owner, ...]) -> tuple[Owner, ...]:
        if not found:
            return found
        if len(self._owners) >= SHARED:
            self._owners.clear()
        return self._owners.setdefault(found, found)

    def _last_change(self, marks: Marks, held: Deployment | None, desired: int) -> LastChange | None:
        write = newest(marks.writes)
        if write is None:
            return None
        last = None if held is None else held.last_change
        at = write.at
        if not at and held is not None:
            # It was written through ``scale``, of which the cluster keeps no time: it is when it arrived here.
            same = last is not None and last.manager == write.manager and held.replicas.desired == desired
            at = last.at if last is not None and same else int(self._now())
        if last is not None and last.at == at and last.manager == write.manager and not last.actor:
            return last
        key = (write.manager, at)
        shared = self._last_changes.get(key)
        if shared is None:
            if len(self._last_changes) >= SHARED:
                self._last_changes.clear()
            shared = self._last_changes[key] = LastChange(at, self._manager(write.manager))
        return shared

    def _manager(self, name: str) -> str:
        shown = self._managers.get(name)
        if shown is None:
            if len(self._managers) >= SHARED:
                self._managers.clear()
            shown = self._managers[name] = plain(name, MAX_NAME_CHARS)
        return shown

    def _string(self, value: str) -> str:
        shared = self._strings.get(value)
        if shared is None:
            if len(self._strings) >= SHARED:
                self._strings.clear()
            shared = self._strings[value] = value
        return shared

    def _counts(self, desired: int | None, current: int, updated: int, ready: int, available: int) -> ReplicaStatus:
        key = (1 if desired is None else desired, current, updated, ready, available)  # 1, as the API defaults it
        shared = self._replicas.get(key)
        if shared is None:
            if min(key) < 0:
                raise ValueError("a count is negative")
            if len(self._replicas) >= SHARED:
                self._replicas.clear()
            shared = self._replicas[key] = ReplicaStatus(*key)
        return shared

    def _condition(self, status: str, reason: str, message: str) -> DeploymentCondition:
        key = (status, reason, message)
        shared = self._conditions.get(key)
        if shared is None:
            if len(self._conditions) >= SHARED:
                self._conditions.clear()
            words = plain(message, MAX_CONDITION_CHARS) if message else ""
            shared = self._conditions[key] = DeploymentCondition(plain(status, 40), plain(reason, 200), words)
        return shared

    def _label_map(
        self, raw: bytes, read: Callable[[bytes], Mapping[str, str]], held: Deployment | None
    ) -> Mapping[str, str]:
        shared = self._labels.get(raw)
        if shared is not None:
            return shared
        labels = read(raw)
        if not labels:
            return NO_LABELS
        if held is not None and held.labels == labels:
            shared = held.labels
        else:
            shared = Labels((self._string(key), self._string(value)) for key, value in labels.items())
        if len(self._labels) >= SHARED:
            self._labels.clear()
        self._labels[raw] = shared
        return shared
