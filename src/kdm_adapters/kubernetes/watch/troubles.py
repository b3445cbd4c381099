"""The kind of a failure of the cluster, as the core tells it to anybody."""

from __future__ import annotations

from kdm_adapters.kubernetes.wire.messages import Failure
from kdm_core.model import Trouble


def trouble(failure: Failure) -> Trouble:
    """Return what kind of trouble a failure is. Nothing that came from outside is part of it."""
    if failure.unreached:
        return Trouble.UNREACHABLE
    if failure.throttled:
        return Trouble.OVERLOADED
    if failure.foreign:
        return Trouble.FAILED
    by_code = {401: Trouble.UNAUTHENTICATED, 403: Trouble.FORBIDDEN}
    return by_code.get(failure.code, Trouble.FAILED)
