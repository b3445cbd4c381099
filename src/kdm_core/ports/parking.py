"""The port to what is remembered of parked Deployments."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kdm_core.model import DeploymentRef
from kdm_core.parked import Parked


def _ignore(_ref: DeploymentRef, _parked: Parked | None) -> None:
    pass


class ParkingLot(ABC):
    """Keeps one record for each parked Deployment, for several kdm processes at once.

    Records are compared and set: of several that write the record of one Deployment at the same time, one succeeds.
    A record survives this process, unless the adapter says otherwise. Use it on one event loop.

    A record that cannot be read, because something else wrote it or it was damaged, is kept as it is: its Deployment
    can be neither read nor swapped until somebody has corrected it.

    Attributes:
        on_change: Called with each record that ``list`` shows otherwise than before; None where there is none any more.
            On the event loop's thread, in the middle of things: it must be quick, and not raise.
    """

    on_change: Callable[[DeploymentRef, Parked | None], None] = staticmethod(_ignore)

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Start to follow the records. Returns before the first complete state is known."""

    @abstractmethod
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """Stop following."""

    @abstractmethod
    def list(self) -> tuple[tuple[DeploymentRef, Parked], ...]:
        """Return every record that can be read, from memory, ordered by namespace, then name.

        Others' records are there within the delay of a watch, this process' own at once.

        Raises:
            CacheNotSynced: No complete state is known yet.
        """

    @abstractmethod
    def unreadable(self) -> tuple[str, ...]:
        """Return where records are that cannot be read, from memory."""

    @abstractmethod
    async def read(self, ref: DeploymentRef) -> Parked | None:
        """Return the record of one Deployment as it is now. Asks where it is kept.

        Raises:
            ParkingRecordUnreadable: It cannot be read.
            WriteForbidden: kdm may not read it.
            Unavailable: It could not be asked for.
        """

    @abstractmethod
    async def swap(self, ref: DeploymentRef, expected: Parked | None, new: Parked | None) -> bool:
        """Replace the record of one Deployment, if it is still the one that is expected.

        Args:
            ref: Which Deployment.
            expected: The record that must be there; None for none.
            new: The record to put in its place; None for none.

        Returns:
            Whether it was replaced: False where another one is there.

        Raises:
            ParkingFull: There is no room for it.
            ParkingRecordUnreadable: What is there cannot be read.
            WriteForbidden: kdm may not write it.
            WriteInvalid: Admission refused it.
            Unavailable: It could not be written, or there is no saying whether it was. ``written`` is False all the
                same: it is about the Deployment, which nobody has touched.
        """
