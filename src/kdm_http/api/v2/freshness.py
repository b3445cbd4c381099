"""How old the proof is that what is shown is so: the field ``Age``, and what lists say of it."""

from __future__ import annotations

import math
from typing import NamedTuple

from kdm_core import ALL_NAMESPACES, DeploymentService


class Freshness(NamedTuple):
    """How far reads of a namespace can be trusted.

    Attributes:
        age_s: Seconds since the newest proof of freshness, in whole seconds.
        stale: Whether that is past the configured bound.
        resource_version: How far the cluster has been seen.
    """

    age_s: int
    stale: bool
    resource_version: str

    @property
    def field(self) -> bytes:
        """The header field ``Age``, as it is sent."""
        return b"age: %d\r\n" % self.age_s


def freshness(service: DeploymentService, namespace: str = ALL_NAMESPACES) -> Freshness:
    """Return how far reads of a namespace can be trusted at this moment.

    Args:
        service: What serves them.
        namespace: The namespace; "*" for every watched one.
    """
    source = service.sync_status().of(namespace)
    return Freshness(_whole(source.age_s), source.stale, source.resource_version)


def _whole(age_s: float) -> int:
    return int(age_s) if math.isfinite(age_s) else 0
