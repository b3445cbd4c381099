"""The port to the audit trail."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kdm_core.model import AuditEvent


class AuditSink(ABC):
    """Where the audit trail goes."""

    @abstractmethod
    def check(self) -> None:
        """Make sure that an event could be recorded now. Called before a write is sent to the cluster.

        Raises:
            AuditUnavailable: It could not, and the sink was configured to be required.
        """

    @abstractmethod
    def record(self, event: AuditEvent) -> None:
        """Record one event, durably, before returning.

        Raises:
            AuditUnavailable: It could not be recorded, and the sink was configured to be required.
        """
