"""Who last set a Deployment's replica count, and when."""

from __future__ import annotations

from attrs import frozen


@frozen(weakref_slot=False)
class LastChange:
    """The newest write that set a Deployment's replica count, as far as the cluster and kdm know.

    Attributes:
        at: When, in seconds since the epoch, UTC. The cluster keeps one time for all that a manager wrote: it can be
            that of a newer write by the same manager to another field.
        manager: The field manager, as the cluster names it, such as ``kubectl`` or ``kube-controller-manager``.
        actor: Who asked for it through kdm; "" where it did not come through kdm, or kdm has started since.
        reason: Why, in the actor's words; "" where none was given.
    """

    at: int
    manager: str
    actor: str = ""
    reason: str = ""
