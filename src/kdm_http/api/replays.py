"""Idempotency-Key: a write that is sent again is not done again, and gets the first answer.

The header is that of draft-ietf-httpapi-idempotency-key-header. The records are this process's own: another kdm does
not know them, nor does this one after a restart.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec
from attrs import define, field

from kdm_http.api.dispatch import Answer
from kdm_http.api.errors import BadRequest, Refused

KEPT_S: Final = 15 * 60.0
"""How long an answer is kept, in seconds: longer than any client goes on trying."""

MAX_RECORDS: Final = 8192
MAX_BYTES: Final = 8 * 1024 * 1024
"""How many answers are kept in all, and of how many bytes. Beyond it the user who has the most loses the oldest."""

MAX_UNDER_WAY: Final = 128
"""How many writes under a key one user may have under way. They go on when their client leaves, so connections do not
bound them; a user may have as many connections."""

MAX_KEY_LENGTH: Final = 256
"""The longest key, in characters. A UUID has 36."""

RECORD_BYTES: Final = 600
"""What a record takes besides its answer and its key, in bytes."""

_KEY: Final = re.compile(r'"([!#-\[\]-~]+)"|([!#-\[\]-~]+)').fullmatch
_RETRY_AFTER: Final = re.compile(rb"^retry-after: [0-9]+\r\n", re.MULTILINE).sub
_REPLAYED: Final = b"idempotency-replayed: true\r\n"

Name = tuple[str, str, str]
"""Of a record, for one user: the method, the path and the key."""


class Keyed(NamedTuple):
    """A write under a key.

    Attributes:
        user: Who asks.
        method: The HTTP method.
        path: The path.
        key: The key.
        fingerprint: What is asked for, as a digest.
    """

    user: str
    method: str
    path: str
    key: str
    fingerprint: bytes


class _Record(NamedTuple):
    fingerprint: bytes
    answer: Answer
    until: float
    size: int


@define(eq=False)
class _Share:
    """What is kept for one user: the oldest first."""

    records: OrderedDict[Name, _Record] = field(factory=OrderedDict)
    size: int = 0


def key_of(values: list[bytes]) -> str | None:
    """Return the key that the field ``Idempotency-Key`` has: a string in quotes, or the same without them.

    Args:
        values: The field's values, one for each time it is there.

    Returns:
        The key; None where there is none.

    Raises:
        BadRequest: It is no key.
    """
    if not values:
        return None
    match = _KEY(values[0].strip().decode("latin-1")) if len(values) == 1 else None
    key = (match[1] or match[2]) if match else ""
    if not key or len(key) > MAX_KEY_LENGTH:
        raise BadRequest(
            f"Idempotency-Key must be there once, with 1 to {MAX_KEY_LENGTH} printable ASCII characters in quotes: "
            'Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"'
        )
    return key


def fingerprint_of(*parts: bytes) -> bytes:
    """Return a digest of what is asked for."""
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.digest()


class Replays:
    """Remembers the answers to writes under a key. Belongs to one event loop.

    Args:
        clock: Monotonic seconds.
        max_records: How many answers are kept in all.
        max_bytes: Of how many bytes.
        max_under_way: How many writes of one user may be under way.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        max_records: int = MAX_RECORDS,
        max_bytes: int = MAX_BYTES,
        max_under_way: int = MAX_UNDER_WAY,
    ) -> None:
        self._max_under_way = max_under_way
        self._clock = clock
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._shares: dict[str, _Share] = {}
        self._under_way: dict[tuple[str, Name], tuple[bytes, asyncio.Task[Answer]]] = {}
        self._busy: Counter[str] = Counter()
        self._records = 0
        self._size = 0

    def __len__(self) -> int:
        return self._records

    async def answer(self, keyed: Keyed, write: Callable[[], Awaitable[Answer]]) -> Answer:
        """Do a write, or return the answer that it got before.

        Args:
            keyed: What is asked for, and under which key.
            write: Does it, and answers; raises nothing. It goes on to its end even where nobody waits for it any more.

        Returns:
            The answer.

        Raises:
            Refused: The key belongs to another request, its first request is still under way, or too many others are.
        """
        name = keyed.method, keyed.path, keyed.key
        self._expire(keyed.user)
        share = self._shares.get(keyed.user)
        record = share.records.get(name) if share else None
        running = self._under_way.get((keyed.user, name))
        known = record.fingerprint if record else running[0] if running else keyed.fingerprint
        if known != keyed.fingerprint:
            raise Refused(
                "idempotency-key-reused",
                422,
                f"the Idempotency-Key {keyed.key[:80]!r} was used for another request: its query, conditions or body "
                "differ; use a new key",
            )
        if record is not None:
            return record.answer._replace(head=record.answer.head + _REPLAYED)
        if running is not None:
            raise Refused(
                "idempotency-key-in-flight",
                409,
                f"the first request with the Idempotency-Key {keyed.key[:80]!r} is still under way; try again",
                written=None,
                retry_after_s=1,
            )
        if self._busy[keyed.user] >= self._max_under_way:
            raise Refused(
                "too-many-under-way",
                429,
                f"more than {self._max_under_way} requests of one identity with an Idempotency-Key are under way",
                retry_after_s=1,
            )
        self._busy[keyed.user] += 1
        task = asyncio.ensure_future(self._recorded(keyed, name, write))
        self._under_way[keyed.user, name] = keyed.fingerprint, task
        return await asyncio.shield(task)  # the record is made even where the client does not wait for it

    async def _recorded(self, keyed: Keyed, name: Name, write: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            answer = await write()
            if _is_final(answer):
                self._keep(keyed, name, answer)
            return answer
        finally:
            del self._under_way[keyed.user, name]
            self._busy[keyed.user] -= 1
            if not self._busy[keyed.user]:
                del self._busy[keyed.user]

    def _keep(self, keyed: Keyed, name: Name, answer: Answer) -> None:
        answer = answer._replace(head=_RETRY_AFTER(b"", answer.head))  # the same comes again however long one waits
        size = RECORD_BYTES + len(answer.head) + len(answer.body) + sum(map(len, name))
        share = self._shares.setdefault(keyed.user, _Share())
        share.records[name] = _Record(keyed.fingerprint, answer, self._clock() + KEPT_S, size)
        share.size += size
        self._records += 1
        self._size += size
        while self._records > self._max_records or self._size > self._max_bytes:
            largest = max(self._shares, key=lambda user: self._shares[user].size)
            self._drop_oldest(largest)

    def _expire(self, user: str) -> None:
        """Drop what is too old: all of this user's, and of whoever has waited longest."""
        now = self._clock()
        for each in {user, next(iter(self._shares), user)}:
            while (share := self._shares.get(each)) and next(iter(share.records.values())).until <= now:
                self._drop_oldest(each)

    def _drop_oldest(self, user: str) -> None:
        share = self._shares[user]
        _, record = share.records.popitem(last=False)
        share.size -= record.size
        self._records -= 1
        self._size -= record.size
        if not share.records:
            del self._shares[user]


def _is_final(answer: Answer) -> bool:
    """Whether an answer is given again: not one that says that nothing was written, and that the same may succeed."""
    status = answer.status
    if status < 400:
        return True
    problem = msgspec.json.decode(answer.body, type=dict[str, object])
    return problem["written"] is not False or not (problem["retryable"] or status in {400, 413, 415})
