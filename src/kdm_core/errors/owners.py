"""What can go wrong where somebody else changes the count, too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from kdm_core.errors.general import Forbidden, KdmError

if TYPE_CHECKING:
    from kdm_core.model import DeploymentRef
    from kdm_core.owners import Judgement


class OwnerConflict(KdmError):
    """Something else would change the count back, so it was not written. ``owners`` says what, and what to do instead.

    Send ``override: true`` to write it all the same, where the policy allows that.

    Attributes:
        ref: The Deployment.
        replicas: The count that was asked for.
        owners: What would change it back, each with what it does and what to do instead.
    """

    code = "owner-conflict"

    def __init__(self, ref: DeploymentRef, replicas: int, owners: Iterable[Judgement]) -> None:
        self.ref = ref
        self.replicas = replicas
        self.owners = tuple(owners)
        self.written = False
        what = "; ".join(f"{each.message}: {each.remedy}" for each in self.owners)
        super().__init__(f"{replicas} replicas would not last on Deployment '{ref}': {what}; or override it")


class OverrideForbidden(Forbidden):
    """The policy does not let this caller override what changes the count back. Nothing changed.

    A grant with ``override_owner = true`` would allow it.
    """

    code = "override-forbidden"
    condition = " by overriding an owner"
