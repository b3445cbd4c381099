"""A repository with traces is the same repository, and its writes leave spans."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NoOpTracer, StatusCode, Tracer

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.tracing import TracedRepository
from kdm_core import ClusterUnreachable, DeploymentRef
from kdm_core.testing.contract import DeploymentRepositoryContract
from unit.adapters.memory.harness import MemoryHarness


class _Traced(TracedRepository):
    def __init__(self, repository: MemoryDeploymentRepository, tracer: Tracer) -> None:
        super().__init__(repository, tracer)
        self.faults = repository.faults


class _TracedHarness(MemoryHarness):
    def __init__(self) -> None:
        super().__init__()
        self.repository = _Traced(self.repository, NoOpTracer())  # type: ignore[assignment] # has the same back door


class TestTraced(DeploymentRepositoryContract):
    @pytest.fixture
    async def harness(self) -> AsyncIterator[MemoryHarness]:
        harness = _TracedHarness()
        async with harness.repository:
            await harness.repository.wait_synced(1)
            yield harness


async def test_a_write_leaves_a_span_that_says_what_was_written_and_whether() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    ref = DeploymentRef("shop", "api")
    memory = MemoryDeploymentRepository()
    memory.cluster.create(ref, 1)
    async with TracedRepository(memory, provider.get_tracer("test")) as repository:
        await repository.wait_synced(1)
        repository.get(ref)
        await repository.set_replicas(ref, 4)
        memory.faults.unreachable = True
        with pytest.raises(ClusterUnreachable):
            await repository.set_replicas(ref, 5)
    done, failed = exporter.get_finished_spans()
    assert done.name == "set replicas"
    assert done.attributes == {"k8s.namespace.name": "shop", "k8s.deployment.name": "api", "kdm.replicas": 4}
    assert done.status.status_code is StatusCode.UNSET
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.status.description is not None
    assert failed.status.description.startswith("ClusterUnreachable")
