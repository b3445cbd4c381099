"""A service over an in-memory repository, an audit trail that can be read, and a clock that can be set."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef
from unit.core.fixtures import Clock, ListedAudit

DEPLOYMENTS = {
    DeploymentRef("payments", "api"): 4,
    DeploymentRef("shop", "api"): 8,
    DeploymentRef("shop", "web"): 3,
}


@pytest.fixture
async def repository(clock: Clock) -> AsyncIterator[MemoryDeploymentRepository]:
    """A name that is unique, and one that two namespaces have."""
    async with MemoryDeploymentRepository(clock=clock) as repository:
        for ref, replicas in DEPLOYMENTS.items():
            repository.cluster.create(ref, replicas)
        yield repository


@pytest.fixture
def audit() -> ListedAudit:
    return ListedAudit()


@pytest.fixture
def clock() -> Clock:
    return Clock()
