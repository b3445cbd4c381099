"""The garbage collector leaves alone what the service holds for good."""

from __future__ import annotations

import asyncio
import gc

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_cli.garbage_collection import frozen_once_synced
from kdm_core import DeploymentRef


async def frozen(at_least: int) -> None:
    async with asyncio.timeout(10):
        while gc.get_freeze_count() < at_least:  # noqa: ASYNC110 - the collector tells nobody
            await asyncio.sleep(0)


async def test_what_is_synced_is_frozen_until_the_end() -> None:
    async with MemoryDeploymentRepository() as repository:
        repository.cluster.create(DeploymentRef("shop", "web"), 1)
        assert gc.get_freeze_count() == 0
        async with frozen_once_synced(repository):
            await frozen(at_least=1)
        assert gc.get_freeze_count() == 0


async def test_nothing_is_frozen_before_it_is_there() -> None:
    """Else the first state, which is most of what there will ever be, would be searched over and over."""
    repository = MemoryDeploymentRepository()
    repository.faults.not_synced = True
    async with repository, frozen_once_synced(repository):
        await asyncio.sleep(0)
        assert gc.get_freeze_count() == 0
        repository.faults.not_synced = False
        await frozen(at_least=1)
