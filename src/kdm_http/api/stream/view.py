"""What clients of one identity that asked for the same may see. They share it, and the bytes that are sent to them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, Protocol

import msgspec

from kdm_core import ALL_NAMESPACES, Deployment, Identity, Policy, Query, Verb
from kdm_http.api.stream import frames
from kdm_http.api.stream.ring import Held, Ring, Step

CHUNK_BYTES: Final = 64 * 1024
"""How much is put together for one write, in bytes, give or take an event."""

REMEMBERED_STEPS: Final = 128
"""Of how many steps a view remembers what they mean to it."""

_cursor: Final = re.compile(rb"([0-9a-f]{8})-(0|[1-9][0-9]{0,17})-([0-9a-f]{16})").fullmatch


class Batch(NamedTuple):
    """Some changes, put together.

    Attributes:
        data: What is sent.
        upto: The number of the last step it covers.
        events: The names of its events.
    """

    data: bytes
    upto: int
    events: tuple[bytes, ...]


class Watcher(Protocol):
    """A client that streams."""

    @property
    def backlog(self) -> int:
        """How many changes there are that it has not looked at."""

    def wake(self) -> None:
        """There may be something to see."""

    def look(self) -> None:
        """Check by the present time whether the client may stay."""


class View:
    """What one identity may see of what it asked for. Belongs to one event loop.

    Args:
        instance: Which hub this is: part of each cursor.
        identity: Who looks.
        query: What they asked for.
        policy: Who may read what.
        encode: Encodes a Deployment.

    Attributes:
        generation: Counts how often the policy changed what is shown.
        forbidden: Whether the policy shows nothing at all any more.
        stale: Whether what is shown may be out of date.
        watchers: The clients.
    """

    def __init__(
        self,
        instance: bytes,
        identity: Identity,
        query: Query,
        policy: Policy,
        encode: Callable[[Deployment], bytes],
    ) -> None:
        self.identity = identity
        self.query = query
        self.policy = policy
        self.generation = 0
        self.forbidden = False
        self.stale = False
        self.watchers: set[Watcher] = set()
        self._encode = encode
        self._prefix, self._suffix = instance + b"-", b"-" + _digest(identity, query)
        self._meanings: dict[int, bytes | None] = {}
        self._batch: tuple[int, int, Batch] | None = None

    def wake(self) -> None:
        """Wake the clients."""
        for watcher in self.watchers:
            watcher.wake()

    def cursor(self, number: int) -> bytes:
        """Return the id of what follows a step."""
        return b"%b%d%b" % (self._prefix, number, self._suffix)

    def number(self, cursor: bytes) -> int | None:
        """Return the step that a client's Last-Event-ID names; None where it is not one of this view and process."""
        match = _cursor(cursor)
        if match is None or not (cursor.startswith(self._prefix) and cursor.endswith(self._suffix)):
            return None
        return int(match[2])

    def judge(self, policy: Policy) -> None:
        """Take over another policy."""
        if not policy.reads_alike(self.identity, self.policy):
            self.generation += 1
            self.forbidden = not policy.may_list(self.identity, self.query.namespace)
        self.policy = policy
        self._meanings.clear()
        self._batch = None

    def meaning(self, number: int, step: Step) -> bytes | None:
        """Return the name of the event that a step is; None where it is none for this view."""
        meanings = self._meanings
        if number in meanings:
            return meanings[number]
        was, now = self.shows(step.before), self.shows(step.after)
        meaning = (frames.MODIFIED if was else frames.ADDED) if now else (frames.DELETED if was else None)
        if len(meanings) >= REMEMBERED_STEPS:
            meanings.clear()
        meanings[number] = meaning
        return meaning

    def shows(self, held: Held | None) -> bool:
        """Return whether a Deployment is shown."""
        if held is None:
            return False
        deployment, query = held.deployment, self.query
        return (
            query.namespace in (ALL_NAMESPACES, deployment.ref.namespace)
            and self.policy.allows(self.identity, Verb.READ, deployment.ref, deployment.labels)
            and query.selects(deployment)
        )

    def batch(self, ring: Ring, after: int, head: int) -> Batch:
        """Put together what comes after a step that the ring still has, up to another one or to ``CHUNK_BYTES``."""
        if self._batch is not None and self._batch[:2] == (after, head):
            return self._batch[2]
        parts: list[bytes] = []
        names: list[bytes] = []
        size, number = 0, after
        while number < head and size < CHUNK_BYTES:
            number += 1
            step = ring[number]
            name = self.meaning(number, step)
            if name is not None:
                held = step.before if name is frames.DELETED else step.after
                assert held is not None  # noqa: S101 - by its meaning
                parts.append(frames.event(name, held.data(self._encode), self.cursor(number)))
                names.append(name)
                size += len(parts[-1])
        batch = Batch(b"".join(parts), number, tuple(names))
        if len(self.watchers) > 1:
            self._batch = after, head, batch
        return batch

    def present(self, state: Iterable[Held]) -> Iterator[tuple[bytes, int]]:
        """Put together the present state. Each chunk comes with how many events it has.

        The policy must not change meanwhile: begin again when ``generation`` has.
        """
        parts: list[bytes] = []
        size = 0
        for looked_at, held in enumerate(state, 1):
            if self.shows(held):
                parts.append(frames.event(frames.PRESENT, held.data(self._encode)))
                size += len(parts[-1])
            if size >= CHUNK_BYTES or looked_at % _LOOKED_AT == 0:
                yield b"".join(parts), len(parts)
                parts, size = [], 0
        yield b"".join(parts), len(parts)


_LOOKED_AT: Final = 500
"""After how many Deployments others get their turn: a millisecond."""


def _digest(identity: Identity, query: Query) -> bytes:
    """Return what makes the cursors of one view useless for another."""
    seen = [identity.user, sorted(identity.groups), query.namespace, str(query.selector), sorted(query.states)]
    return hashlib.blake2s(msgspec.json.encode(seen), digest_size=8).hexdigest().encode()
