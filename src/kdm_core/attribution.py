"""To whom a Deployment's count is owed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from attrs import frozen

FIELD_MANAGER: Final = "kdm"
"""What every kdm is called in a cluster, whoever it acts for: the manager, in ``managedFields``, of what it writes."""


@frozen(weakref_slot=False)
class LastChange:
    """The newest change of a Deployment's count, as the cluster has it, and what kdm knows of it besides.

    Attributes:
        at: When, in seconds since 1970 (the API server notes whole seconds); 0 where that is not known: the API server
            keeps no time of a write to ``scale``, so it is when that arrived here, unless it was there before.
        manager: Who changed it, as the cluster knows them: the field manager, such as ``kubectl`` or ``kdm``.
        actor: Who asked kdm for it; "" where that was not this kdm.
        reason: Why, in the actor's own words; "" where none was given.
    """

    at: int
    manager: str
    actor: str = ""
    reason: str = ""

    @property
    def who(self) -> str:
        """Who changed it, for a person; "somebody" where nothing says so."""
        return f"{self.actor} (through {self.manager})" if self.actor else self.manager or "somebody"


def moment(seconds: int) -> str:
    """Return a time as RFC 3339 has it, in UTC.

    Args:
        seconds: Since 1970.
    """
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
