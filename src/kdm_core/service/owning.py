"""What becomes of a count that something else changes, too: refused, or written and said."""

from __future__ import annotations

from kdm_core.errors import OwnerConflict
from kdm_core.model import Deployment, Identity, Verb
from kdm_core.owners import Effect, Judgement, judge
from kdm_core.service.permission import Permission
from kdm_core.service.recording import Attempt


def heed(
    permission: Permission,
    held: Deployment,
    replicas: int,
    identity: Identity,
    *,
    override: bool = False,
    reason: bool = True,
) -> tuple[Judgement, ...]:
    """Check that a count would last on a Deployment, or that somebody may write it all the same.

    What is the count already is not refused: nothing changes.

    Args:
        permission: Who may do what.
        held: The Deployment, with its owners.
        replicas: The count that is asked for.
        identity: Who asks.
        override: Whether owners are to be overridden.
        reason: Whether a reason is given.

    Returns:
        What the owners do to the count.

    Raises:
        OwnerConflict: One would change it back.
        OverrideForbidden: The policy does not let them override it.
    """
    if not held.owners:
        return ()
    judged = judge(held.owners, held.replicas.desired, replicas)
    if replicas != held.replicas.desired and (reverting := reverted(judged)):
        if not override:
            raise OwnerConflict(held.ref, replicas, reverting)
        permission.check(held, Verb.SCALE, identity, replicas, reason=reason, override=True)
    return judged


def note(
    permission: Permission, attempt: Attempt, held: Deployment, replicas: int, identity: Identity, *, override: bool
) -> None:
    """Do what ``heed`` does, and note with an attempt what the owners do to the count, and which are overridden."""
    attempt.owners = heed(permission, held, replicas, identity, override=override, reason=bool(attempt.why))
    attempt.overridden = reverted(attempt.owners) if replicas != held.replicas.desired else ()


def reverted(judged: tuple[Judgement, ...]) -> tuple[Judgement, ...]:
    """Return those that change the count back."""
    return tuple(each for each in judged if each.effect is Effect.REVERTS)
