"""A repository whose writes leave a span of OpenTelemetry each. Needs kdm's extra ``otel``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Self

from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from kdm_core import Deployment, DeploymentChange, DeploymentRef, DeploymentRepository, SyncStatus


class TracedRepository(DeploymentRepository):
    """Another repository, seen through. To start and to stop this one is to do it to the other.

    Args:
        repository: What does the work.
        tracer: What makes the spans: one for each write, below the current one, ended in error where the write was.
    """

    def __init__(self, repository: DeploymentRepository, tracer: Tracer) -> None:
        self._repository = repository
        self._tracer = tracer

    async def __aenter__(self) -> Self:
        await self._repository.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        await self._repository.__aexit__(exc_type, exc, tb)

    def get(self, ref: DeploymentRef) -> Deployment:
        return self._repository.get(ref)

    def find(self, name: str) -> tuple[Deployment, ...]:
        return self._repository.find(name)

    def list(self, namespace: str | None = None) -> tuple[Deployment, ...]:
        return self._repository.list(namespace)

    def sync_status(self) -> SyncStatus:
        return self._repository.sync_status()

    async def wait_synced(self, timeout_s: float) -> None:
        await self._repository.wait_synced(timeout_s)

    async def probe(self) -> None:
        await self._repository.probe()

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, resource_version: str | None = None
    ) -> Deployment:
        attributes: dict[str, AttributeValue] = {
            "k8s.namespace.name": ref.namespace,
            "k8s.deployment.name": ref.name,
            "kdm.replicas": replicas,
        }
        with self._tracer.start_as_current_span("set replicas", kind=SpanKind.CLIENT, attributes=attributes):
            return await self._repository.set_replicas(ref, replicas, resource_version=resource_version)

    def changes(self, namespace: str | None = None) -> AsyncGenerator[DeploymentChange, None]:
        return self._repository.changes(namespace)
