"""Which Deployment a caller means, and whether the policy lets it do what it asks.

Permission comes first: who may not touch a name does not learn whether it exists.
"""

from __future__ import annotations

from typing import Final

from kdm_core.errors import (
    AmbiguousName,
    DeploymentNotFound,
    Forbidden,
    KdmError,
    NamespaceNotWatched,
    OverrideForbidden,
    ReasonRequired,
)
from kdm_core.labels import NO_LABELS
from kdm_core.model import ALL_NAMESPACES, Deployment, DeploymentRef, Identity, Verb
from kdm_core.names import check_name, check_namespace
from kdm_core.policy import Policy
from kdm_core.ports import DeploymentReader

_TOUCHING: Final = (Verb.READ, Verb.SCALE)


class Permission:
    """The policy, asked about Deployments as a repository has them.

    Args:
        repository: What is there.
        policy: Who may do what. May be replaced at any time.
    """

    def __init__(self, repository: DeploymentReader, policy: Policy) -> None:
        self.policy = policy
        self._repository = repository

    def check_list(self, identity: Identity, namespace: str) -> None:
        """Check that there could be something that somebody may read.

        Args:
            identity: Who asks.
            namespace: Where; "*" for every watched one.

        Raises:
            InvalidName: No namespace can have this name.
            Forbidden: There could be nothing.
        """
        everywhere = namespace == ALL_NAMESPACES
        if not everywhere:
            check_namespace(namespace)
        if not self.policy.may_list(identity, namespace):
            raise Forbidden(identity, Verb.READ, "any namespace" if everywhere else f"namespace '{namespace}'")

    def known(
        self, ref: DeploymentRef, verb: Verb, identity: Identity, replicas: int | None = None, *, reason: bool = True
    ) -> Deployment | None:
        """Check that somebody may do something to one Deployment, and return it.

        Args:
            ref: Which; need not be a valid name.
            verb: What is asked.
            identity: Who asks.
            replicas: The count asked for, where one is.
            reason: Whether a reason is given.

        Returns:
            The Deployment; None where the repository has none, which may be behind.

        Raises:
            InvalidName: No Deployment can have this name.
            Forbidden: The policy does not let them.
            NamespaceNotWatched: The namespace lies outside the watched ones.
            Unavailable: The repository cannot answer now.
        """
        check_name(ref.name)
        check_namespace(ref.namespace)
        found: Deployment | None = None
        missing: DeploymentNotFound | None = None
        try:
            found = self._repository.get(ref)
        except DeploymentNotFound as error:
            missing = error
        self.check(found or ref, verb, identity, replicas, reason=reason)
        if isinstance(missing, NamespaceNotWatched):
            raise missing
        return found

    async def fetched(self, ref: DeploymentRef, verb: Verb, identity: Identity, *, reason: bool = True) -> Deployment:
        """Ask the cluster for one Deployment, while nothing has been written, and check what somebody may do to it.

        Its labels may be others than the cache knew.

        Raises:
            DeploymentNotFound: There is none.
            Forbidden: The policy does not let them.
            Unavailable: The cluster could not be asked. ``written`` is False.
        """
        try:
            found = await self._repository.fetch(ref)
        except KdmError as error:
            error.written = False
            raise
        self.check(found, verb, identity, reason=reason)
        return found

    def check(
        self,
        which: Deployment | DeploymentRef,
        verb: Verb,
        identity: Identity,
        replicas: int | None = None,
        *,
        reason: bool = True,
        override: bool = False,
    ) -> None:
        """Check that somebody may do something to a Deployment; to its reference, where its labels are not known.

        Raises:
            Forbidden: The policy does not let them (``ReasonRequired``: without a reason; ``OverrideForbidden``: by
                overriding an owner).
        """
        ref, labels = (which.ref, which.labels) if isinstance(which, Deployment) else (which, NO_LABELS)
        if not self.policy.allows(identity, verb, ref, labels, replicas, reason=reason, override=override):
            if override and self.policy.allows(identity, verb, ref, labels, replicas, reason=reason):
                raise OverrideForbidden(identity, verb, _target(str(ref), replicas), ref.namespace)
            needs_reason = not reason and self.policy.allows(identity, verb, ref, labels, replicas)
            error = ReasonRequired if needs_reason else Forbidden
            raise error(identity, verb, _target(str(ref), replicas), ref.namespace)

    def the_one(
        self, name: str, verb: Verb, identity: Identity, replicas: int | None = None, *, reason: bool = True
    ) -> Deployment:
        """Return the one Deployment of a name that somebody may know of, if they may do something to it.

        Raises:
            InvalidName: No Deployment can have this name.
            AmbiguousName: Several namespaces have one.
            DeploymentNotFound: None has.
            Forbidden: The policy does not let them.
            Unavailable: The repository cannot answer now.
        """
        check_name(name)
        found = self._repository.find(name)
        if len(found) == 1 and self.policy.allows(
            identity, verb, found[0].ref, found[0].labels, replicas, reason=reason
        ):
            return found[0]
        known = [each for each in found if self._may_know_of(identity, each)]
        if len(known) > 1:
            raise AmbiguousName(name, [each.ref.namespace for each in known])
        if known:
            self.check(known[0], verb, identity, replicas, reason=reason)
            return known[0]
        if not self.policy.may_list(identity, ALL_NAMESPACES):
            raise Forbidden(identity, verb, _target(name, replicas))
        raise DeploymentNotFound(name)

    def _may_know_of(self, identity: Identity, deployment: Deployment) -> bool:
        """Whether somebody may read a Deployment, or scale it to some count."""
        return any(self.policy.allows(identity, verb, deployment.ref, deployment.labels) for verb in _TOUCHING)


def _target(name: str, replicas: int | None) -> str:
    return f"Deployment '{name}'" + ("" if replicas is None else f" to {replicas} replicas")
