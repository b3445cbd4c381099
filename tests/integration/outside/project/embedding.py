"""A program that nobody at kdm wrote: it brings a repository, an audit sink and an instrument of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import TracebackType
from typing import Literal, Self

from typing_extensions import override

from kdm_adapters.audit_log import JsonLinesAuditSink
from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import (
    ALL_NAMESPACES,
    ANY,
    AuditEvent,
    AuditSink,
    AuditUnavailable,
    Caller,
    ChangeKind,
    Deployment,
    DeploymentChange,
    DeploymentNotFound,
    DeploymentRef,
    DeploymentRepository,
    DeploymentService,
    Expect,
    Identity,
    KdmError,
    Outcome,
    ReplicaStatus,
    ServiceInstrument,
    SetTo,
    SyncStatus,
    parse_policy,
)

POLICY = 'version = 1\n[[grant]]\nanyone = true\nverbs = ["read", "scale"]\nnamespaces = ["*"]'


class Minimal(DeploymentRepository):
    """Implements what is abstract and nothing else: starting and stopping are the port's."""

    @override
    def get(self, ref: DeploymentRef) -> Deployment:
        raise DeploymentNotFound(ref)

    @override
    def find(self, name: str) -> tuple[Deployment, ...]:
        return ()

    @override
    def list(self, namespace: str = ALL_NAMESPACES) -> tuple[Deployment, ...]:
        return ()

    @override
    def sync_status(self) -> SyncStatus:
        return SyncStatus(synced=True, connected=True, resource_version="1", age_s=0.0)

    @override
    async def wait_synced(self, timeout_s: float) -> None:
        return

    @override
    async def probe(self) -> None:
        return

    @override
    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        return Deployment(ref, "uid", "2", 1, 1, ReplicaStatus(replicas), labels={"made": "here"})

    @override
    async def changes(self, namespace: str = ALL_NAMESPACES) -> AsyncGenerator[DeploymentChange, None]:
        yield DeploymentChange(ChangeKind.SYNCED)


class Starting(Minimal):
    """Starts and stops something of its own, around what the port does."""

    started: bool = False

    @override
    async def __aenter__(self) -> Self:
        self.started = True
        return await super().__aenter__()

    @override
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        self.started = False
        await super().__aexit__(exc_type, exc, tb)


class Listed(AuditSink):
    def __init__(self) -> None:
        self.events: list[AuditEvent] = []

    @override
    def check(self) -> None:
        if len(self.events) > 1000:
            raise AuditUnavailable("too many")

    @override
    def record(self, event: AuditEvent) -> None:
        self.events.append(event)


class Counting(ServiceInstrument):
    reads: int = 0

    @override
    def read_served(self, kind: Literal["get", "find", "list"]) -> None:
        self.reads += 1


async def main() -> None:
    audit, instrument = Listed(), Counting()
    async with Starting() as repository:
        assert repository.started
        service = DeploymentService(
            repository, policy=parse_policy(POLICY), audit=audit, instrument=instrument, namespace="shop"
        )
        web = DeploymentRef("shop", "web")
        scaled = await service.set_replicas(web, SetTo(3), caller=Caller(Identity("alice")))
        assert scaled.replicas == 3
        assert scaled.deployment.labels["made"] == "here"
        assert [event.outcome for event in audit.events] == [Outcome.SUCCESS]
        try:
            _ = service.get(web)
        except KdmError as error:
            print(error)
        async for change in repository.changes():
            assert change.deployment is None
    async with Minimal() as minimal:
        assert minimal.list() == ()
    async with MemoryDeploymentRepository() as memory:
        _ = memory.cluster.create(DeploymentRef("shop", "web"), 3)
        found: tuple[Deployment, ...] = memory.find("web")
        assert len(found) == 1
    with JsonLinesAuditSink("/dev/null") as sink:
        sink.record(audit.events[0])


if __name__ == "__main__":
    asyncio.run(main())
