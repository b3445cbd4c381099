"""Sending a count to the cluster: the one place where it happens, so that the history knows of each."""

from __future__ import annotations

from kdm_core.model import Caller, Deployment, DeploymentRef
from kdm_core.ports import DeploymentRepository
from kdm_core.scaling import Expect
from kdm_core.tracking import ChangeTracker


class Sender:
    """Has the cluster store counts, and the history take note of what comes of it.

    Args:
        repository: Where the Deployments are.
        tracker: Takes note of what is written; None for nobody.
    """

    def __init__(self, repository: DeploymentRepository, tracker: ChangeTracker | None = None) -> None:
        self._repository = repository
        self._tracker = tracker

    async def send(
        self,
        ref: DeploymentRef,
        replicas: int,
        expect: Expect,
        *,
        caller: Caller,
        reason: str,
        before: int | None,
        dry_run: bool,
    ) -> Deployment:
        """Have the cluster store a count. See :meth:`kdm_core.ports.DeploymentWriter.set_replicas`.

        Args:
            ref: Of which Deployment.
            replicas: The count.
            expect: What the Deployment must be like.
            caller: Who asks.
            reason: Why.
            before: The count that it is known to have; what is expected counts more.
            dry_run: Whether only to try.
        """
        tracker = self._tracker
        if tracker is None or dry_run:
            return await self._repository.set_replicas(ref, replicas, expect=expect, dry_run=dry_run)
        with tracker.sending(ref, replicas, caller, reason=reason) as own:
            written = await self._repository.set_replicas(ref, replicas, expect=expect)
            exact = expect.replicas is not None
            tracker.answered(own, written, expect.replicas if exact else before, exact=exact)
            return written
