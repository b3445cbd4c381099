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
    back: bool = False,
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
        back: Whether the count brings a parked Deployment back: see ``undone``.

    Returns:
        What the owners do to the count.

    Raises:
        OwnerConflict: One would change it back.
        OverrideForbidden: The policy does not let them override it.
    """
    if not held.owners:
        return ()
    judged = judge(held.owners, held.replicas.desired, replicas)
    if replicas != held.replicas.desired and (reverting := undone(judged, back=back)):
        if not override:
            raise OwnerConflict(held.ref, replicas, reverting)
        permission.check(held, Verb.SCALE, identity, replicas, reason=reason, override=True)
    return judged


def note(
    permission: Permission,
    attempt: Attempt,
    held: Deployment,
    replicas: int,
    identity: Identity,
    *,
    override: bool,
    back: bool = False,
) -> None:
    """Do what ``heed`` does, and note with an attempt what the owners do to the count, and which are overridden."""
    attempt.owners = heed(permission, held, replicas, identity, override=override, reason=bool(attempt.why), back=back)
    attempt.overridden = undone(attempt.owners, back=back) if replicas != held.replicas.desired else ()


def undone(judged: tuple[Judgement, ...], *, back: bool = False) -> tuple[Judgement, ...]:
    """Return those owners that a count is not written for, because they would change it back.

    Args:
        judged: What the owners do to the count.
        back: Whether it brings a parked Deployment back. Then an autoscaler is no reason to leave it at zero: it sets a
            count within its bounds, and cannot begin before there is one.
    """
    return tuple(each for each in judged if each.effect is Effect.REVERTS and not (back and each.owner.bounded))
