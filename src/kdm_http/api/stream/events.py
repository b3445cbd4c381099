"""What happens on streams, reported for metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

Reset = Literal["unknown-cursor", "too-old", "lagged", "policy-changed"]
"""Why a client gets the present state again: its Last-Event-ID is not of this process and query; what follows it is not
kept any more; it read too slowly; the policy shows it something else."""


class StreamEvents:
    """Every method does nothing; override those you need.

    Called on the event loop's thread: an implementation must be quick and must not raise.
    """

    def opened(self) -> None:
        """A stream has begun."""

    def closed(self, reason: str) -> None:
        """A stream has ended; the reasons are those of the event ``closing``, and ``hang-up``."""

    def refused(self, limit: Literal["user", "total"]) -> None:
        """A stream was refused: its user has too many, or there are too many in all."""

    def sent(self, names: Iterable[bytes]) -> None:
        """These events were sent, each of them once."""

    def reset(self, reason: Reset, skipped: int) -> None:
        """A client gets the present state again, in place of so many changes."""

    def observe_backlog(self, backlog: Callable[[], int]) -> None:
        """Take a function that returns how many changes the slowest stream is behind."""
