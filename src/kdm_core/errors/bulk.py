"""What can go wrong with a batch of changes, besides what can go wrong with each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from kdm_core.errors.general import InvalidInput, KdmError, PreconditionFailed, Unavailable

if TYPE_CHECKING:
    from kdm_core.model import DeploymentRef


_SHOWN: Final = 320
"""How much is shown of what should be a namespace and a name, in characters: those that can be right are shorter."""


class BulkTooLarge(InvalidInput):
    """A batch of more Deployments than one may have. Nothing changed. Choose fewer, for example by namespace.

    Attributes:
        total: How many were chosen.
        limit: How many one batch may have.
    """

    code = "bulk-too-large"

    def __init__(self, total: int, limit: int) -> None:
        self.total = total
        self.limit = limit
        super().__init__(f"{total} Deployments were chosen, and one batch may have at most {limit}; choose fewer")


class BulkRefused(KdmError):
    """Some items of a batch are refused, and it was to be done as a whole or not at all. Nothing changed.

    ``items`` says which are refused, and why. Leave them out, or say that the others are to be done all the same.

    Attributes:
        items: Which are refused, each with why.
        total: How many items the batch has.
    """

    code = "bulk-refused"

    def __init__(self, items: Sequence[tuple[DeploymentRef, KdmError]], total: int) -> None:
        self.items = tuple(items)
        self.total = total
        first, why = self.items[0]
        shown = f"{str(first)[:_SHOWN]!r}: {why}"
        super().__init__(
            f"{len(self.items)} of {total} items are refused, so nothing was changed; the first is {shown}"
        )


class PlanChanged(PreconditionFailed):
    """What would be done now is not what the plan showed. Nothing changed. Ask for the plan again, and look at it.

    Attributes:
        tag: What the plan of this moment is known by.
    """

    code = "plan-changed"

    def __init__(self, tag: str) -> None:
        self.tag = tag
        super().__init__("what would be done now is not what the plan showed; ask for the plan again")


class NotTried(Unavailable):
    """The batch ended before this item had its turn. This item was not changed; the message says what ended it."""

    code = "not-tried"
