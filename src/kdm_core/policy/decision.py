"""Deciding: which grants apply to a caller, and whether one of them allows what is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import field, frozen

from kdm_core.model import ALL_NAMESPACES, DeploymentRef, Identity, Verb
from kdm_core.policy.grant import ANY_COUNT, GRANTABLE, Grant, ReplicaBounds, Subjects
from kdm_core.policy.patterns import ALL

CACHED_CALLERS: Final = 1024
"""For how many callers the grants that apply are remembered; more than one service has, and some 200 KB at most."""

_READ: Final = Verb.READ
_SCALE: Final = Verb.SCALE


@frozen
class _Granted:
    """What applies to one caller."""

    read: tuple[Grant, ...]
    scale: tuple[Grant, ...]
    reads_everything: bool


@frozen
class Verdict:
    """What one grant says to a question.

    Attributes:
        index: Its place in the policy, from 0, as in a file's error messages.
        grant: The grant.
        misses: Why it does not allow what is asked; empty when it does.
    """

    index: int
    grant: Grant
    misses: tuple[str, ...]


@frozen
class Explanation:
    """Why something is allowed or not: one verdict for each grant, in the policy's order."""

    verdicts: tuple[Verdict, ...]

    @property
    def allowed(self) -> bool:
        """Whether it is allowed."""
        return bool(self.allowing)

    @property
    def allowing(self) -> tuple[Verdict, ...]:
        """The grants that allow it; one is enough."""
        return tuple(verdict for verdict in self.verdicts if not verdict.misses)

    @property
    def near_misses(self) -> tuple[Verdict, ...]:
        """The grants that come closest to allowing it: those that miss by the fewest reasons."""
        missing = [verdict for verdict in self.verdicts if verdict.misses]
        fewest = min((len(verdict.misses) for verdict in missing), default=0)
        return tuple(verdict for verdict in missing if len(verdict.misses) == fewest)


@frozen
class Policy:
    """Decides whether an actor may do something: only if a grant says so.

    Immutable and usable from any thread. A decision takes one or two microseconds once a caller is known.

    Args:
        grants: What is allowed. Their order has no meaning; more grants never allow less.
    """

    grants: tuple[Grant, ...] = ()
    _callers: dict[tuple[str, frozenset[str]], _Granted] = field(factory=dict, init=False, eq=False, repr=False)

    def allows(
        self,
        actor: Identity,
        verb: Verb,
        ref: DeploymentRef,
        labels: Mapping[str, str],
        replicas: int | None = None,
        *,
        reason: bool = True,
        override: bool = False,
    ) -> bool:
        """Return whether the actor may do this.

        Args:
            actor: Who asks.
            verb: What is asked.
            ref: Of which Deployment.
            labels: The Deployment's labels, empty where it is not known: grants that ask for labels then do not apply.
            replicas: The count asked for; None asks whether the actor may scale to any count at all.
            reason: Whether the actor says why, where a change is asked for.
            override: Whether something else is to be overridden that changes the count back.
        """
        granted = self._granted(actor)
        if verb is _READ:
            if granted.reads_everything:
                return True
            for grant in granted.read:  # noqa: SIM110 - any() costs a generator on the hot path
                if grant.covers(ref, labels):
                    return True
            return False
        return verb is _SCALE and any(
            grant.covers(ref, labels)
            and (replicas is None or grant.replicas.include(replicas))
            and (reason or not grant.require_reason)
            and (grant.override_owner or not override)
            for grant in granted.scale
        )

    def counts(self, actor: Identity, ref: DeploymentRef, labels: Mapping[str, str]) -> tuple[ReplicaBounds, ...]:
        """Return to which counts the actor may scale a Deployment: to those within any of these bounds.

        Args:
            actor: Who asks.
            ref: Of which Deployment.
            labels: The Deployment's labels.

        Returns:
            The bounds, each once, in the policy's order; none where the actor may not scale it at all.
        """
        found = (grant.replicas for grant in self._granted(actor).scale if grant.covers(ref, labels))
        return tuple(dict.fromkeys(found))

    def may_list(self, actor: Identity, namespace: str) -> bool:
        """Return whether there could be a Deployment that the actor may read.

        Args:
            actor: Who asks.
            namespace: The namespace asked for; "*" for every one.
        """
        return any(
            namespace == ALL_NAMESPACES or grant.namespaces.match(namespace) for grant in self._granted(actor).read
        )

    def unrestricted(self, actor: Identity, namespace: str) -> bool:
        """Return whether the actor may read every Deployment there, so that a list needs no filter.

        Args:
            actor: Who asks.
            namespace: The namespace asked for; "*" for every one.

        Returns:
            True only if one grant alone covers everything. Several that do so together are not recognised: then a
            list is filtered, to the same end.
        """
        for grant in self._granted(actor).read:
            if not grant.narrow and (
                grant.namespaces.everything if namespace == ALL_NAMESPACES else grant.namespaces.match(namespace)
            ):
                return True
        return False

    def reads_alike(self, actor: Identity, other: Policy) -> bool:
        """Return whether another policy lets the actor read the same for certain, whatever there is.

        Args:
            actor: Who asks.
            other: The other policy.

        Returns:
            True if the grants that apply reach equally far. Others may come to the same: that is not recognised.
        """
        if other is self:
            return True
        mine, theirs = self._granted(actor), other._granted(actor)
        if mine.reads_everything or theirs.reads_everything:
            return mine.reads_everything and theirs.reads_everything
        return _reach(mine.read) == _reach(theirs.read)

    def explain(
        self,
        actor: Identity,
        verb: Verb,
        ref: DeploymentRef,
        labels: Mapping[str, str],
        replicas: int | None = None,
        *,
        reason: bool = True,
        override: bool = False,
    ) -> Explanation:
        """Return what each grant says to this; ``allowed`` is what ``allows`` returns. For people, not hot paths.

        Args:
            actor: Who asks.
            verb: What is asked.
            ref: Of which Deployment.
            labels: The Deployment's labels.
            replicas: The count asked for, where one is.
            reason: Whether the actor says why, where a change is asked for.
            override: Whether something else is to be overridden that changes the count back.
        """
        asked = (actor, verb, ref, labels, replicas)
        return Explanation(
            tuple(
                Verdict(index, grant, grant.misses(*asked, reason=reason, override=override))
                for index, grant in enumerate(self.grants)
            )
        )

    def _granted(self, actor: Identity) -> _Granted:
        key = (actor.user, actor.groups)
        granted = self._callers.get(key)
        if granted is None:
            mine = [grant for grant in self.grants if grant.subjects.include(actor)]
            granted = _Granted(
                tuple(grant for grant in mine if _READ in grant.verbs),
                tuple(grant for grant in mine if _SCALE in grant.verbs),
                any(_READ in grant.verbs and not grant.narrow and grant.namespaces.everything for grant in mine),
            )
            if len(self._callers) >= CACHED_CALLERS:
                self._callers.clear()  # starting over is simple, safe between threads, and cheap at this size
            self._callers[key] = granted
        return granted


def _reach(grants: tuple[Grant, ...]) -> set[tuple[frozenset[str], frozenset[str], frozenset[tuple[str, str]]]]:
    """Return what grants are about: everything that :meth:`Grant.covers` looks at."""
    return {
        (frozenset(each.namespaces.patterns), frozenset(each.names.patterns), frozenset(each.labels.items()))
        for each in grants
    }


ALLOW_ALL: Final = Policy((Grant(Subjects(anyone=True), GRANTABLE, ALL, replicas=ANY_COUNT, override_owner=True),))
"""Every actor may do everything."""
