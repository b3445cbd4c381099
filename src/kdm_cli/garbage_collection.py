"""Keeps Python's cyclic garbage collector from searching the long-lived objects of the service."""

from __future__ import annotations

import asyncio
import ctypes
import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

from kdm_core import CacheNotSynced, DeploymentRepository

YOUNG_OBJECTS: Final = 20_000
"""After so many new objects the youngest are searched (CPython: 700): a list of Deployments makes them by the hundred
thousand, and each search of the older ones on the way would go through all of these."""

SEARCHES: Final = (50, 100)
"""After how many searches of a generation the next older one is searched (CPython: 10 and 10)."""

_PATIENCE_S: Final = 60.0


@asynccontextmanager
async def frozen_once_synced(repository: DeploymentRepository) -> AsyncIterator[None]:
    """Exclude all objects that exist once the repository has synced from collection (``gc.freeze``).

    A full collection looks at every object: with 50,000 Deployments it would hold up each request for tens of
    milliseconds and find nothing, because none of them is part of a cycle. Objects that are replaced later are still
    freed, by their reference counts. For the same reason collections are rare while a list arrives.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(YOUNG_OBJECTS, *SEARCHES)
    task = asyncio.create_task(_freeze(repository), name="kdm-freeze")
    try:
        yield
    finally:
        task.cancel()
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        await asyncio.wait([task])  # last: this may be cancelled


async def _freeze(repository: DeploymentRepository) -> None:
    synced = False
    while not synced:
        with suppress(CacheNotSynced):
            await repository.wait_synced(_PATIENCE_S)
            synced = True
    gc.collect()
    gc.freeze()
    await asyncio.to_thread(_give_back)


def _give_back() -> None:
    """Give the system back what the start and the first list needed and nobody needs any more."""
    with suppress(AttributeError):  # the C library may be another than glibc: malloc_trim(3)
        ctypes.CDLL(None).malloc_trim(0)
