"""How far one source can be trusted, and why no further."""

from __future__ import annotations

from kdm_adapters.cache.freshness import Freshness
from kdm_adapters.kubernetes.wire.messages import Failure
from kdm_core.model import SourceStatus, Trouble


class Health:
    """Whether a source has a complete state and a watch that follows it.

    Attributes:
        synced: Whether a complete state is published.
        connected: Whether a watch is open that is known to follow it.
        problem: Why not, in a sentence.
        freshness: How old what is published can be.
    """

    def __init__(self) -> None:
        self.synced = False
        self.connected = False
        self.problem = ""
        self.freshness = Freshness()
        self._trouble: Trouble | None = None

    def connect(self) -> None:
        """Note that the watch works."""
        self.connected = True
        self.problem, self._trouble = "", None

    def disconnect(self, problem: str, trouble: Trouble) -> None:
        """Note that it does not, and why."""
        self.connected = False
        self.explain(problem, trouble)

    def explain(self, problem: str, trouble: Trouble) -> None:
        """Say what is missing, where something is."""
        self.problem, self._trouble = problem, trouble

    def fail(self, failure: Failure) -> None:
        """Note that a request failed."""
        self.disconnect(failure.message, _trouble(failure))

    def status(self, source: str, resource_version: str, now: float, stale_after_s: float) -> SourceStatus:
        """Return it for readers.

        Args:
            source: What the source is called.
            resource_version: The newest version seen.
            now: Seconds on the watch's clock.
            stale_after_s: Past which age it is stale, in seconds.
        """
        well = self.synced and self.connected
        age_s = now - self.freshness.at(now)
        return SourceStatus(
            source=source,
            synced=self.synced,
            connected=self.connected,
            resource_version=resource_version,
            age_s=age_s,
            stale=self.synced and age_s > stale_after_s,
            reason="" if well else self.problem,
            trouble=None if well else self._trouble,
        )

    def reset(self) -> None:
        """Forget everything."""
        self.synced = self.connected = False
        self.freshness = Freshness()


def _trouble(failure: Failure) -> Trouble:
    """Return what kind of trouble a failure is. Nothing that came from outside is part of it."""
    if failure.unreached:
        return Trouble.UNREACHABLE
    if failure.throttled:
        return Trouble.OVERLOADED
    if failure.foreign:
        return Trouble.FAILED
    by_code = {401: Trouble.UNAUTHENTICATED, 403: Trouble.FORBIDDEN}
    return by_code.get(failure.code, Trouble.FAILED)
