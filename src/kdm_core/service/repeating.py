"""Reads that come again: whether the same Deployment would be given, for less than giving it costs."""

from __future__ import annotations

from kdm_core.errors import KdmError
from kdm_core.model import ALL_NAMESPACES, Deployment
from kdm_core.policy import Policy
from kdm_core.ports import DeploymentReader, ServiceInstrument
from kdm_core.service.permission import Permission


class Repeats:
    """Compares a read with what it gave before, as objects: Deployments and policies are immutable.

    Args:
        repository: What is there.
        permission: Has the policy of the moment.
        instrument: Counts the reads.
    """

    def __init__(self, repository: DeploymentReader, permission: Permission, instrument: ServiceInstrument) -> None:
        self._repository = repository
        self._permission = permission
        self._instrument = instrument

    def give_again(self, deployment: Deployment, namespace: str, policy: Policy) -> bool:
        """Return whether ``find`` would give a caller what it gave it before; if so, count a read.

        It costs less than ``find``: the same policy decides the same about the same Deployment, both as objects.

        Args:
            deployment: What it gave.
            namespace: Where it was looked for; "*" for everywhere.
            policy: The policy at that time.
        """
        if policy is not self._permission.policy:
            return False
        try:
            if namespace == ALL_NAMESPACES:
                found = self._repository.find(deployment.ref.name)
                if len(found) != 1 or found[0] is not deployment:
                    return False
                self._instrument.read_served("find")
            else:
                if self._repository.get(deployment.ref) is not deployment:
                    return False
                self._instrument.read_served("get")
        except KdmError:
            return False
        return True
