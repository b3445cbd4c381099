"""Changes as one caller may see them: what comes into view was added, what goes out of view is deleted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator

from kdm_core.model import ChangeKind, Deployment, DeploymentChange, DeploymentRef, Identity, SyncStatus, Verb
from kdm_core.policy import Policy
from kdm_core.ports import DeploymentRepository
from kdm_core.queries import Query

_SYNCED = DeploymentChange(ChangeKind.SYNCED)


class UnfilteredFeed:
    """Everything that happens, for a part of kdm that follows once and passes changes on to many callers.

    It must ask the policy of each moment before it shows anything to anybody. Belongs to one event loop.

    Args:
        repository: What happens.
        policy: Returns the policy as it is now.
    """

    def __init__(self, repository: DeploymentRepository, policy: Callable[[], Policy]) -> None:
        self._repository = repository
        self._policy = policy
        self._listeners: list[Callable[[], None]] = []

    @property
    def policy(self) -> Policy:
        """Who may read what, at this moment."""
        return self._policy()

    def sync_status(self) -> SyncStatus:
        """Return how far what was seen can be trusted, source by source."""
        return self._repository.sync_status()

    def changes(self, namespace: str) -> AsyncGenerator[DeploymentChange, None]:
        """Follow a namespace, or all for "*"; see :meth:`kdm_core.ports.DeploymentFeed.changes`."""
        return self._repository.changes(namespace)

    def when_policy_changes(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call a listener after each change of the policy.

        Returns:
            Ends that.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def policy_changed(self) -> None:
        """Call the listeners."""
        for listener in tuple(self._listeners):
            listener()


class Followers:
    """Everybody who follows changes through a service.

    Args:
        feed: What happens, and the policy.

    Attributes:
        feed: The same.
    """

    def __init__(self, feed: UnfilteredFeed) -> None:
        self.feed = feed
        self._policies = 0
        self._waiting: set[tuple[asyncio.Timeout, asyncio.AbstractEventLoop]] = set()

    def policy_changed(self) -> None:
        """Have everybody's view be judged again. Called on the event loop's thread."""
        self._policies += 1
        for waiting, loop in self._waiting:
            waiting.reschedule(loop.time())
        self.feed.policy_changed()

    async def follow(self, query: Query, identity: Identity) -> AsyncGenerator[DeploymentChange, None]:
        """Yield the changes of what somebody may read, and asked for.

        When the policy changes, the present state is read again, and what differs from what was shown is yielded.
        """
        view = _View(query, identity)
        while True:
            policies = self._policies
            view.policy = self.feed.policy
            changes = self.feed.changes(query.namespace)
            try:
                while policies == self._policies:
                    change = await self._next(changes)
                    if change is not None:
                        for each in view.show(change):
                            yield each
            except StopAsyncIteration:
                return
            finally:
                await changes.aclose()
            view.resume()

    async def _next(self, changes: AsyncGenerator[DeploymentChange, None]) -> DeploymentChange | None:
        """Return the next change; None where the policy changes first."""
        waiting: tuple[asyncio.Timeout, asyncio.AbstractEventLoop] | None = None
        try:
            async with asyncio.timeout(None) as until_policy_changes:
                waiting = until_policy_changes, asyncio.get_running_loop()
                self._waiting.add(waiting)
                return await anext(changes)
        except TimeoutError:
            return None
        finally:
            if waiting is not None:
                self._waiting.discard(waiting)


class _View:
    """What one follower has been shown."""

    def __init__(self, query: Query, identity: Identity) -> None:
        self.policy = Policy()
        self._query = query
        self._identity = identity
        self._shown: dict[DeploymentRef, Deployment] = {}
        self._synced = False
        # While the present state is read again: what was shown and is not confirmed yet, and what waits for SYNCED.
        self._unconfirmed: dict[DeploymentRef, Deployment] | None = None
        self._later: list[DeploymentChange] = []

    def resume(self) -> None:
        """Expect the present state again, under another policy."""
        self._unconfirmed = dict(self._shown)
        self._later.clear()

    def show(self, change: DeploymentChange) -> Iterator[DeploymentChange]:
        """Return what a change means to the follower."""
        deployment = change.deployment
        if deployment is not None:
            yield from self._show(change.kind, deployment)
        elif change.kind is ChangeKind.SYNCED:
            yield from self._end_of_present_state()
        else:
            self._shown.clear()
            self._later.clear()
            self._synced, self._unconfirmed = False, None
            yield change

    def _show(self, kind: ChangeKind, deployment: Deployment) -> Iterator[DeploymentChange]:
        ref = deployment.ref
        visible = self._is_visible(deployment)
        if kind is ChangeKind.PRESENT:
            if visible:
                yield from self._present(deployment)
            return
        before = self._shown.get(ref)
        if kind is not ChangeKind.DELETED and visible:
            self._shown[ref] = deployment
            yield DeploymentChange(ChangeKind.MODIFIED if before else ChangeKind.ADDED, deployment)
        elif before is not None:
            del self._shown[ref]
            # How it is now is not for the follower to see, unless it would be if it were still there.
            yield DeploymentChange(ChangeKind.DELETED, deployment if visible else before)

    def _present(self, deployment: Deployment) -> Iterator[DeploymentChange]:
        ref = deployment.ref
        if self._unconfirmed is None:
            self._shown[ref] = deployment
            yield DeploymentChange(ChangeKind.PRESENT, deployment)
            return
        before = self._unconfirmed.pop(ref, None)
        self._shown[ref] = deployment
        if before is None:
            yield DeploymentChange(ChangeKind.ADDED if self._synced else ChangeKind.PRESENT, deployment)
        elif before.uid != deployment.uid:
            yield from self._once_synced(ChangeKind.DELETED, before)
            yield from self._once_synced(ChangeKind.ADDED, deployment)
        elif before != deployment:
            yield from self._once_synced(ChangeKind.MODIFIED, deployment)

    def _end_of_present_state(self) -> Iterator[DeploymentChange]:
        gone, self._unconfirmed = self._unconfirmed or {}, None
        if not self._synced:
            self._synced = True
            yield _SYNCED
        yield from self._later
        self._later.clear()
        for ref, deployment in gone.items():
            del self._shown[ref]
            yield DeploymentChange(ChangeKind.DELETED, deployment)

    def _once_synced(self, kind: ChangeKind, deployment: Deployment) -> Iterator[DeploymentChange]:
        change = DeploymentChange(kind, deployment)
        if self._synced:
            yield change
        else:
            self._later.append(change)

    def _is_visible(self, deployment: Deployment) -> bool:
        return self.policy.allows(self._identity, Verb.READ, deployment.ref, deployment.labels) and self._query.selects(
            deployment
        )
