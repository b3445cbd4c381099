"""What can go wrong with parking and restoring."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdm_core.errors.general import InvalidInput, KdmError, WriteRejected

if TYPE_CHECKING:
    from kdm_core.model import DeploymentRef


class ParkingOff(InvalidInput):
    """This kdm does not park: no place for what it would have to remember was configured."""

    code = "parking-off"

    def __init__(self) -> None:
        super().__init__("this kdm does not park Deployments: parking is not configured")


class NothingToPark(KdmError):
    """The Deployment is at zero already, and nobody parked it: there is no count to remember. Nothing changed.

    Attributes:
        ref: The Deployment.
    """

    code = "nothing-to-park"

    def __init__(self, ref: DeploymentRef) -> None:
        self.ref = ref
        super().__init__(f"Deployment '{ref}' has no replicas already, and it is not parked: nothing to remember")


class NotParked(KdmError):
    """The Deployment is not parked, or not with this parkId. Nothing changed.

    Attributes:
        ref: The Deployment.
    """

    code = "not-parked"

    def __init__(self, ref: DeploymentRef, why: str) -> None:
        self.ref = ref
        super().__init__(f"Deployment '{ref}' is not parked: {why}")


class ChangedSinceParked(KdmError):
    """Somebody has scaled the Deployment since it was parked, or made it again. It is left alone.

    What was remembered is in the error, and is forgotten: who scaled the Deployment decides about its count now.

    Attributes:
        ref: The Deployment.
        current: The count that it has.
        parked: The count that was remembered.
        forgotten: Whether it is forgotten now; it is not in a dry run.
    """

    code = "changed-since-parked"

    def __init__(self, ref: DeploymentRef, current: int, parked: int, what: str, *, forgotten: bool) -> None:
        self.ref = ref
        self.current = current
        self.parked = parked
        self.forgotten = forgotten
        end = "; that is forgotten now" if forgotten else ""
        super().__init__(
            f"Deployment '{ref}' {what} since it was parked: it is left alone, with {current} replicas. "
            f"It had {parked}{end}"
        )


class ParkingRecordUnreadable(KdmError):
    """What is remembered of a parked Deployment cannot be read: it was written by something else, or is damaged.

    It is kept as it is, and the Deployment is neither parked nor restored. The message says where it is.

    Attributes:
        ref: The Deployment.
        where: Where the record is.
    """

    code = "parking-record-unreadable"

    def __init__(self, ref: DeploymentRef, where: str, problem: str) -> None:
        self.ref = ref
        self.where = where
        super().__init__(
            f"what is remembered of Deployment '{ref}' cannot be read: {where}: {problem}; it is kept: correct it, or "
            "remove it there once you have scaled the Deployment"
        )


class ParkingFull(WriteRejected):
    """There is no room to remember one more parked Deployment. Nothing changed.

    Attributes:
        where: What is full.
    """

    code = "parking-full"

    def __init__(self, where: str, limit: str) -> None:
        self.where = where
        super().__init__(f"no more Deployments of this namespace can be parked: {where} is full ({limit})")
