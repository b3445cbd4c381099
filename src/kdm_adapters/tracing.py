"""A repository whose writes leave a span of OpenTelemetry each. Needs kdm's extra ``otel``."""

from __future__ import annotations

from opentelemetry.trace import SpanKind, Tracer
from opentelemetry.util.types import AttributeValue

from kdm_core import ANY, Deployment, DeploymentRef, DeploymentRepository, Expect, WrappedRepository


class TracedRepository(WrappedRepository):
    """Another repository whose writes are traced.

    Args:
        repository: What does the work.
        tracer: What makes the spans: one for each write, below the current one, ended in error where the write was.
    """

    def __init__(self, repository: DeploymentRepository, tracer: Tracer) -> None:
        super().__init__(repository)
        self._tracer = tracer

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        attributes: dict[str, AttributeValue] = {
            "k8s.namespace.name": ref.namespace,
            "k8s.deployment.name": ref.name,
            "kdm.replicas": replicas,
        }
        if dry_run:
            attributes["kdm.dry_run"] = True
        with self._tracer.start_as_current_span("set replicas", kind=SpanKind.CLIENT, attributes=attributes):
            return await super().set_replicas(ref, replicas, expect=expect, dry_run=dry_run)
