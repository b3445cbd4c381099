"""What one stream of a kdm has said, and how far that can be trusted. Pure data, no I/O."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from kdm_adapters.cache.published import Published
from kdm_adapters.cache.store import Objects, Store
from kdm_adapters.remote.decoding import read_deployment, read_freshness
from kdm_adapters.remote.sse import Event
from kdm_core.model import Deployment, SourceStatus, Trouble
from kdm_core.versions import older

_CHANGES: Final = {"added": "ADDED", "modified": "MODIFIED", "deleted": "DELETED"}


class Source:
    """A namespace, or all of them, as a stream shows it. Times are in seconds, on the repository's clock.

    Args:
        store: Where complete states are published. Sources share one.
        namespace: The namespace; None for all of them.
        on_synced: Called when the first complete state is published.
        on_reached: Called with each version that has been seen.
        on_reset: Called when a state was published in place of changes that are not known.

    Attributes:
        published: What is shown to readers.
        synced: Whether a complete state is published.
        resource_version: How far the cluster has been seen; "" before that is known.
        last_id: Behind which event the stream can be taken up again; "" for nowhere.
        closing: Why the server ends the stream; "" while it goes on.
    """

    def __init__(
        self,
        store: Store,
        namespace: str | None,
        *,
        on_synced: Callable[[], None],
        on_reached: Callable[[str], None],
        on_reset: Callable[[], None],
    ) -> None:
        self.source = namespace or "*"
        self.published = Published(store, namespace)
        self.synced = False
        self.resource_version = ""
        self.last_id = ""
        self.closing = ""
        self._on_synced = on_synced
        self._on_reached = on_reached
        self._on_reset = on_reset
        self._staged: Objects | None = None
        self._was_reset = False
        self._following = False  # whether what the stream says continues what is published
        self._server_connected = True
        self._server_stale = False
        self._proof_at = -math.inf
        self._writing = 0
        self._gone: set[str] = set()
        self._reason, self._trouble = "the stream is not open yet", Trouble.NOT_READ

    def status(self, now: float, stale_after_s: float) -> SourceStatus:
        """Return how far this source can be trusted."""
        age_s = now - self._proof_at
        connected = self._following and self._server_connected
        well = self.synced and connected
        stale = self.synced and (age_s > stale_after_s or (self._server_stale and self._following))
        reason, trouble = ("", None) if well else (self._reason, self._trouble)
        if well and stale and self._server_stale:
            reason = f"the kdm says that what it knows may be old: {age_s:.0f} s"
        elif self._following and not self._server_connected:
            reason, trouble = "the kdm is not connected to its cluster", Trouble.INTERRUPTED
        return SourceStatus(self.source, self.synced, connected, self.resource_version, age_s, stale, reason, trouble)

    def stop(self) -> None:
        """Note that the repository has stopped."""
        self.interrupted("stopped", Trouble.STOPPED)

    # The stream

    def opened(self) -> None:
        """Note that the server streams: what came since where that was asked for, else the present state."""
        self.closing = ""
        self._was_reset = False
        self._staged = None if self.last_id else {}

    def interrupted(self, reason: str, trouble: Trouble) -> None:
        """Note that the stream has ended, and why."""
        self._following = False
        self._staged = None
        self._reason, self._trouble = reason, trouble

    def event(self, event: Event, now: float) -> None:
        """Take in an event.

        Raises:
            NotKdms: It is none of kdm's.
        """
        if event.name in _CHANGES:
            self._changed(_CHANGES[event.name], read_deployment(event.data))
        elif event.name == "present":
            self._present(read_deployment(event.data))
        elif event.name == "reset":
            self._begin_again()
        elif event.name == "synced":
            self._complete(event, now)
        elif event.name == "bookmark":
            self._mark(event, now)
        elif event.name in {"stale", "fresh"}:
            self._server_stale = event.name == "stale"
        elif event.name == "closing":
            self.closing = event.data.decode("utf-8", "replace")
        self.last_id = event.id  # after it was taken in: what fails here is asked for again

    # Own writes

    def writing(self) -> None:
        """Note that a write is sent. ``written`` or ``not_written`` follows."""
        self._writing += 1

    def not_writing(self) -> None:
        """Note that its answer has been taken in, or will not come."""
        self._writing -= 1
        if not self._writing:
            self._gone.clear()

    def is_gone(self, uid: str) -> bool:
        """Return whether an object was deleted while a write was under way."""
        return uid in self._gone

    def _begin_again(self) -> dict[str, dict[str, Deployment]]:
        self._staged, self._was_reset, self._following = {}, True, False
        return self._staged

    def _present(self, deployment: Deployment) -> None:
        # Without a reset: a gateway on the way took the id off the request.
        staged = self._begin_again() if self._staged is None else self._staged
        staged.setdefault(deployment.ref.namespace, {})[deployment.ref.name] = deployment

    def _complete(self, event: Event, now: float) -> None:
        said = read_freshness(event.data)
        staged = self._begin_again() if self._staged is None else self._staged
        self._staged = None
        self._proof_at = -math.inf  # of this state nothing is proven but what comes with it
        if self._went_back(said.resource_version):
            self.published.settle(None)
        self.published.replace(staged, said.resource_version)
        self.resource_version = said.resource_version
        if self._was_reset and self.synced:
            self._on_reset()
        self._was_reset = False
        self._mark(event, now)
        if not self.synced:
            self.synced = True
            self._on_synced()

    def _changed(self, kind: str, deployment: Deployment) -> None:
        """Show a change. It proves nothing of now: the kdm may have known it for long."""
        self.published.event(kind, deployment, in_order=True)
        if kind == "DELETED" and self._writing:
            self._gone.add(deployment.uid)

    def _mark(self, event: Event, now: float) -> None:
        said = read_freshness(event.data)
        self._following = True
        self._server_connected, self._server_stale = said.connected, said.stale
        if said.age_seconds is not None:
            self._proof_at = max(self._proof_at, now - said.age_seconds)
        if not said.resource_version:
            return
        self.published.settle(None if self._went_back(said.resource_version) else said.resource_version)
        self.resource_version = said.resource_version
        self._on_reached(said.resource_version)

    def _went_back(self, resource_version: str) -> bool:
        return older(resource_version, self.resource_version)
