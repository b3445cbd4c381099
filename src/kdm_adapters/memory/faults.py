"""What can be made to go wrong with the in-memory repository."""

from __future__ import annotations

from collections.abc import Callable

from kdm_core.errors import ClusterOverloaded, WriteForbidden, WriteInvalid
from kdm_core.model import DeploymentRef


class Faults:
    """What can be made to go wrong. Each is off until set, works at once and stays until set back.

    Attributes:
        not_synced: There was no first list yet: reads are refused.
        disconnected: The watch is broken: reads go on from the snapshot, which ages; what happens is not seen. When
            healed, what was missed arrives as one difference.
        disconnected_namespaces: Of which of the watched namespaces alone this is so.
        stale: The snapshot counts as past its bound, and ages, whatever the clock says.
        unreachable: There is no cluster: ``disconnected``, and writes and probes fail.
        timeout: Writes and probes are not answered in time; nothing was written.
        answer_lost: Writes are stored, but the answer does not arrive in time: what makes a timeout ambiguous.
        unrecognized: A gateway answers writes and probes in the cluster's place; nothing was written.
        overloaded: Writes are turned away for a while.
        conflict: Writes meet a concurrent one.
        forbidden: Writes lack the RBAC permission.
        invalid: Writes are refused by an admission webhook.
    """

    not_synced = False
    disconnected = False
    disconnected_namespaces: frozenset[str] = frozenset()
    stale = False
    unreachable = False
    timeout = False
    answer_lost = False
    unrecognized = False
    overloaded = False
    conflict = False
    forbidden = False
    invalid = False

    def __init__(self, on_change: Callable[[], None]) -> None:
        object.__setattr__(self, "_on_change", on_change)

    def __setattr__(self, name: str, value: bool | frozenset[str]) -> None:
        if type(getattr(type(self), name, None)) is not type(value):
            raise AttributeError(f"there is no fault called {name!r}")
        object.__setattr__(self, name, value)
        self._on_change()

    _on_change: Callable[[], None]

    def check_accepted(self, ref: DeploymentRef) -> None:
        """Refuse a write of a Deployment, if the cluster is to refuse it.

        Raises:
            ClusterOverloaded, WriteForbidden, WriteInvalid: It is.
        """
        if self.overloaded:
            raise ClusterOverloaded(f"the cluster asks for fewer requests (scaling Deployment '{ref}')")
        if self.forbidden:
            raise WriteForbidden(
                "kdm's identity lacks the RBAC permission 'patch' on 'deployments/scale' "
                f"in namespace '{ref.namespace}'"
            )
        if self.invalid:
            raise WriteInvalid(f"an admission webhook refused to scale Deployment '{ref}'")
