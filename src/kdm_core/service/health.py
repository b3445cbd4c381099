"""Whether kdm can do its job, without health checks becoming a load."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Final

from attrs import frozen

from kdm_core.errors import Unavailable
from kdm_core.model import SyncStatus
from kdm_core.ports import DeploymentRepository

_log = logging.getLogger(__name__)

PROBE_MAX_AGE_S: Final = 1.0
"""A health answer may rest on a probe of the cluster this old, in seconds: health checks must not become a load."""


@frozen
class Health:
    """Whether kdm can do its job at this moment. ``error`` says why not, for a person; None when it can."""

    error: str | None
    sync: SyncStatus

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return self.error is None


class SharedProbe:
    """Asks the cluster at most once a ``PROBE_MAX_AGE_S``, however many want to know.

    Args:
        repository: What reaches the cluster.
        clock: Monotonic seconds.
    """

    def __init__(self, repository: DeploymentRepository, clock: Callable[[], float]) -> None:
        self._repository = repository
        self._clock = clock
        self._asked_at = -math.inf
        self._task: asyncio.Task[str | None] | None = None

    async def error(self) -> str | None:
        """Return why the cluster cannot serve; None where it can."""
        now = self._clock()
        if self._task is None or (self._task.done() and now - self._asked_at > PROBE_MAX_AGE_S):
            self._asked_at = now
            self._task = asyncio.create_task(self._ask(), name="kdm-probe")
        task = self._task
        await asyncio.wait({task})  # a caller that gives up must not take the answer from the others
        if task.cancelled():
            if self._task is task:
                self._task = None  # the next one asks again
            return "the probe of the cluster was cancelled"
        return task.result()

    async def _ask(self) -> str | None:
        try:
            await self._repository.probe()
        except Unavailable as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - a defect there is no reason to fail whoever asks
            _log.exception("the probe of the cluster failed")
            return f"the probe of the cluster failed: {type(error).__name__}"
        return None
