"""What kdm reports about itself while it runs: to metrics, or to whoever wants to know.

Every method does nothing; an adapter overrides what it is interested in. They are called on the event loop's thread,
from hot paths: an implementation must be quick and must not raise.
"""

from __future__ import annotations

from typing import Literal


class ServiceInstrument:
    """What the use cases report."""

    def read_served(self, kind: Literal["get", "find", "list"]) -> None:
        """A read was answered from memory: a cluster call that was not made."""

    def write(self, outcome: str, seconds: float) -> None:
        """An attempt to change a count ended; ``outcome`` is a value of :class:`~kdm_core.model.Outcome`."""

    def bulk_item(self, outcome: str) -> None:
        """An item of a batch ended; ``outcome`` is a value of :class:`~kdm_core.bulk_progress.ItemOutcome`."""

    def owner_conflict(self, kind: str, *, overridden: bool) -> None:
        """A count was asked for that an owner of this kind changes back: refused, or written all the same."""

    def audit_lost(self) -> None:
        """An audit event could not be recorded."""


class EventInstrument:
    """What those report who announce changes."""

    def event_announced(self) -> None:
        """A change was announced."""

    def event_dropped(self, reason: Literal["rate", "queue", "refused", "failed", "stopped"]) -> None:
        """A change was not announced: too many of one Deployment, too many in all, refused, no answer, or kdm stops."""


class WatchInstrument:
    """What a watched cluster gives to report. ``source`` is the namespace a watch covers, or "*" for all of them."""

    def watch_event(self, source: str, kind: str) -> None:
        """A watch event arrived: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    def event_undecodable(self, source: str) -> None:
        """A watch event or a listed object could not be understood and was left out; a relist follows."""

    def listed(self, source: str, mode: Literal["list", "watch-list"], reason: str, seconds: float) -> None:
        """A complete state was read. ``reason`` says why: initial, expired, error, undecodable, went-back, ..."""

    def watch_ended(self, source: str, reason: str) -> None:
        """A watch stream ended: timeout, expired, error, silent, went-back, ..."""

    def backed_off(self, source: str, seconds: float) -> None:
        """The next attempt waits this long, in seconds."""

    def api_request(self, verb: str, code: int, seconds: float) -> None:
        """A request to the cluster was answered with this status code (0: not at all) after this many seconds.

        ``verb`` is RBAC's: list, watch, patch, get. For a watch the seconds are those until it opened.
        """

    def subscriber_lagged(self) -> None:
        """A follower of ``changes`` fell behind."""
