"""The use cases that wait: for a rollout, and for the cache to have come as far as a version."""

from __future__ import annotations

import math

from kdm_core.errors import DeploymentNotFound, Forbidden, InvalidInput, InvalidQuery, KdmError
from kdm_core.labels import NO_LABELS
from kdm_core.model import LOCAL, Caller, DeploymentRef, Verb
from kdm_core.ports import DeploymentRepository
from kdm_core.rollout import RolloutResult, Target, WaitFor
from kdm_core.scaling import Scaled
from kdm_core.service.permission import Permission
from kdm_core.service.recording import Recorder
from kdm_core.service.rollouts import FORBIDDEN, Rollouts
from kdm_core.versions import is_version, older


class Waits:
    """A part of the service, which sets what it needs."""

    _repository: DeploymentRepository
    _permission: Permission
    _recorder: Recorder
    _rollouts: Rollouts

    async def rollout(
        self,
        ref: DeploymentRef,
        caller: Caller = LOCAL,
        *,
        target: Scaled | Target | None = None,
        wait_for: WaitFor = WaitFor.AVAILABLE,
        timeout_s: float,
        valid_s: float = math.inf,
    ) -> RolloutResult:
        """Wait until the Pods of a Deployment have followed a write, or cannot.

        Answered from the cache, by what the cluster itself says: it costs the cluster nothing however many wait, and
        it may be cancelled at any time. What ends it, in which order, is the table of ADR 0029.

        Args:
            ref: Which Deployment.
            caller: Who asks.
            target: What is waited for: what ``set_replicas`` returned; the target of a wait that is to be taken up
                again; None for what is desired now.
            wait_for: How far it must have come.
            timeout_s: How long to wait at most, in seconds; 0 to look once.
            valid_s: How long the caller may wait, in seconds: until its certificate expires, where it has one.

        Returns:
            What came of it. Whatever that is, nothing was written here. Where the target is what ``set_replicas``
            returned and the caller may not read the Deployment, it is ``INTERRUPTED``: the write has happened.

        Raises:
            InvalidInput: ``timeout_s`` is no time, or the write was a dry run: there is nothing to wait for.
            InvalidName: A name no Deployment or namespace can have.
            DeploymentNotFound: There is none, and no target says that there was.
            Forbidden: The policy does not let the caller read it.
            CacheNotSynced, CacheStale: The repository cannot answer now.
        """
        if not 0 <= timeout_s < math.inf:
            raise InvalidInput(f"timeout: must be a number of seconds, not {timeout_s!r:.40}")
        if isinstance(target, Scaled):
            if target.dry_run:
                raise InvalidInput("a dry run changes nothing that could be waited for")
            labels = target.deployment.labels
            aim = target.target
            if not self._permission.policy.allows(caller.identity, Verb.READ, ref, labels):
                return RolloutResult(FORBIDDEN.outcome, aim, wait_for, message=FORBIDDEN.message)
        else:
            try:
                known = self._permission.known(ref, Verb.READ, caller.identity)
            except Forbidden as error:
                self._recorder.refusal(error, caller, ref.namespace, ref.name)
                raise
            if target is not None:
                aim = target
            elif known is not None:
                aim = Target.of(known)
            else:
                raise DeploymentNotFound(ref)
            labels = NO_LABELS if known is None else known.labels
        return await self._rollouts.wait(
            ref, caller.identity, aim, wait_for, labels=labels, timeout_s=timeout_s, valid_s=valid_s
        )

    def stop_waiting(self, why: str = "kdm is stopping") -> None:
        """Have everybody who waits for a rollout get ``INTERRUPTED``, now and from now on: before a shutdown.

        Args:
            why: What their result says.
        """
        self._rollouts.stop(why)

    async def wait_for_version(
        self, where: DeploymentRef | str, resource_version: str, timeout_s: float, caller: Caller = LOCAL
    ) -> None:
        """Wait until reads are at least as new as a version that somebody has seen elsewhere.

        Whoever may read something there learns how far the cache is, and nothing of any Deployment.

        Args:
            where: Of one Deployment, of a namespace, or of every watched one ("*").
            resource_version: The version, of Deployments or of anything else in the cluster. A quiet source learns of
                others' versions once a minute.
            timeout_s: How long to wait at most, in seconds.
            caller: Who asks.

        Raises:
            InvalidName: No namespace can be called that.
            InvalidQuery: It can be no version.
            Forbidden: The policy lets the caller read nothing at all there.
            NamespaceNotWatched: The namespace lies outside the watched ones.
            NotSeenYet: Reads are not as new in time.
        """
        if not is_version(resource_version):
            raise InvalidQuery(f"resourceVersion: must be a number, not {resource_version!r:.40}")
        namespace, name = (where.namespace, where.name) if isinstance(where, DeploymentRef) else (where, "")
        try:
            self._permission.check_list(caller.identity, namespace)
        except Forbidden as error:
            self._recorder.refusal(error, caller, namespace, name)
            raise
        if isinstance(where, DeploymentRef) and not self._is_behind(where, resource_version):
            return
        await self._repository.wait_seen(namespace, resource_version, timeout_s)

    def _is_behind(self, ref: DeploymentRef, resource_version: str) -> bool:
        try:
            return older(self._repository.get(ref).resource_version, resource_version)
        except KdmError:
            return True
