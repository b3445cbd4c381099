"""The newest changes in the order in which they happened, for a bounded amount of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from kdm_core import Deployment


class Held:
    """A Deployment as it was at some time, encoded at most once."""

    __slots__ = ("_data", "deployment")

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self._data: bytes | None = None

    def data(self, encode: Callable[[Deployment], bytes]) -> bytes:
        """Return its encoding."""
        if self._data is None:
            self._data = encode(self.deployment)
        return self._data


class Step(NamedTuple):
    """One change.

    Attributes:
        before: The Deployment before it; None where there was none.
        after: The Deployment after it; None where it is gone.
        size: How many bytes it counts for.
    """

    before: Held | None
    after: Held | None
    size: int = 0


class Ring:
    """Steps by their number. The oldest make room for new ones.

    Args:
        steps: How many are kept.
        size: How many bytes they may count for together.

    Attributes:
        head: The number of the newest step.
        floor: Everything after this number is here.
        quarters: Counts up each time a quarter of what fits has been added, in steps or in bytes. What was added four
            quarters ago may be gone.
    """

    def __init__(self, steps: int, size: int) -> None:
        self.head = 0
        self.floor = 0
        self.quarters = 0
        self._quarter = [0, 0]  # steps and bytes of the present one
        self._slots: list[Step | None] = [None] * steps
        self._most = size
        self._size = 0

    def append(self, step: Step) -> None:
        """Add a step."""
        self.head += 1
        if self.head - self.floor > len(self._slots):
            self._drop()
        self._slots[self.head % len(self._slots)] = step
        self._size += step.size
        while self._size > self._most and self.floor < self.head:
            self._drop()
        number, size = self._quarter = [self._quarter[0] + 1, self._quarter[1] + step.size]
        if number * 4 >= len(self._slots) or size * 4 >= self._most:
            self.quarters += 1
            self._quarter = [0, 0]

    def __getitem__(self, number: int) -> Step:
        """Return a step between ``floor`` and ``head``, the former excluded."""
        step = self._slots[number % len(self._slots)]
        assert step is not None  # noqa: S101 - by the bounds
        return step

    def start_over(self) -> None:
        """Forget everything. No number that was used before leads anywhere."""
        self._slots = [None] * len(self._slots)
        self._size = 0
        self.head += 1
        self.floor = self.head

    def _drop(self) -> None:
        self.floor += 1
        index = self.floor % len(self._slots)
        step, self._slots[index] = self._slots[index], None
        assert step is not None  # noqa: S101 - by the bounds
        self._size -= step.size
