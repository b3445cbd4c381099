"""Writing through the service: bounds and policy before, one audit event after, whatever comes of it."""

from __future__ import annotations

import asyncio
import json
import logging
from datetime import UTC, datetime

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import (
    ANY,
    LOCAL,
    AmbiguousName,
    AuditEvent,
    AuditUnavailable,
    CacheNotSynced,
    Caller,
    ClusterTimeout,
    ClusterUnreachable,
    Deployment,
    DeploymentNotFound,
    DeploymentRef,
    DeploymentService,
    Expect,
    Forbidden,
    Identity,
    InvalidName,
    InvalidReplicas,
    KdmError,
    NamespaceNotWatched,
    Outcome,
    Verb,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from unit.core.fixtures import ALICE, MALLORY, WEB, Clock, ListedAudit, Meter, grant, policy, write

READ, SCALE = Verb.READ, Verb.SCALE


class SlowRepository(MemoryDeploymentRepository):
    """Takes its time over a write, which arrives in the cluster all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.writing = asyncio.Event()
        self.answer = asyncio.Event()

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        written = await super().set_replicas(ref, replicas, expect=expect, dry_run=dry_run)
        self.writing.set()
        await self.answer.wait()
        return written


class BrokenRepository(MemoryDeploymentRepository):
    """Has a bug."""

    async def set_replicas(
        self, ref: DeploymentRef, replicas: int, *, expect: Expect = ANY, dry_run: bool = False
    ) -> Deployment:
        raise RuntimeError(f"a secret: {ref}, {replicas}, {expect}, {dry_run}")


def stored(repository: MemoryDeploymentRepository, ref: DeploymentRef = WEB) -> int:
    return repository.cluster.deployments[ref].replicas.desired


async def test_success_is_stored_read_and_recorded(
    repository: MemoryDeploymentRepository, audit: ListedAudit, clock: Clock
) -> None:
    service = DeploymentService(repository, audit=audit, clock=clock)
    before = datetime.now(UTC)

    written = await write(service, "web", 5, caller=Caller(ALICE, "r1"))

    assert written.replicas.desired == service.find("web").replicas.desired == stored(repository) == 5
    (event,) = audit.events
    assert before <= event.time <= datetime.now(UTC)
    assert event == AuditEvent(
        time=event.time,
        request_id="r1",
        actor=ALICE,
        verb=SCALE,
        namespace="shop",  # where it was found, though none was named
        name="web",
        old_replicas=3,
        new_replicas=5,
        outcome=Outcome.SUCCESS,
    )


async def test_latency_is_told(audit: ListedAudit, clock: Clock) -> None:
    meter = Meter()
    async with SlowRepository() as repository:
        repository.cluster.create(WEB, 3)
        service = DeploymentService(repository, audit=audit, instrument=meter, clock=clock)
        writing = asyncio.create_task(write(service, "web", 5))
        await repository.writing.wait()
        clock.now_s += 2.5
        repository.answer.set()
        await writing
    assert audit.events[0].latency_s == 2.5
    assert meter.writes == [("success", 2.5)]


@pytest.mark.parametrize("namespace", [None, "shop"])
async def test_setting_the_same_count_succeeds(
    repository: MemoryDeploymentRepository, audit: ListedAudit, namespace: str | None
) -> None:
    written = await write(DeploymentService(repository, audit=audit), "web", 3, namespace)
    assert written == repository.get(WEB)
    assert [(each.old_replicas, each.new_replicas, each.outcome) for each in audit.events] == [(3, 3, Outcome.SUCCESS)]


class TestBounds:
    async def test_zero_and_the_maximum_are_allowed(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, max_replicas=10)
        assert service.max_replicas == 10
        for replicas in (0, 10):
            assert (await write(service, "web", replicas)).replicas.desired == replicas

    @pytest.mark.parametrize("replicas", [-1, 11, 2**31, pytest.param(10**5000, id="10**5000"), True, 1.0, "3", None])
    async def test_anything_else_is_refused(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit, replicas: int
    ) -> None:
        service = DeploymentService(repository, max_replicas=10, audit=audit)

        with pytest.raises(InvalidReplicas, match="from 0 to 10"):
            await write(service, "web", replicas)

        assert stored(repository) == 3
        (event,) = audit.events
        assert (event.outcome, event.namespace, event.name) == (Outcome.REJECTED, "*", "web")
        assert event.new_replicas == (replicas if type(replicas) is int and replicas <= 11 else None)
        assert "from 0 to 10" in event.reason

    async def test_a_typing_error_does_not_buy_a_data_centre(self, repository: MemoryDeploymentRepository) -> None:
        with pytest.raises(InvalidReplicas):
            await write(DeploymentService(repository), "web", 33_333)


@pytest.mark.parametrize(
    ("fault", "error", "outcome"),
    [
        ("unreachable", ClusterUnreachable, Outcome.FAILED),
        ("timeout", ClusterTimeout, Outcome.FAILED),
        ("forbidden", WriteForbidden, Outcome.FAILED),
        ("not_synced", CacheNotSynced, Outcome.FAILED),
        ("conflict", WriteConflict, Outcome.REJECTED),
        ("invalid", WriteInvalid, Outcome.REJECTED),
    ],
)
async def test_what_the_cluster_does_not_do_is_recorded(
    repository: MemoryDeploymentRepository, audit: ListedAudit, fault: str, error: type[KdmError], outcome: Outcome
) -> None:
    """Told apart: what was at fault, the request or what should have served it."""
    meter = Meter()
    setattr(repository.faults, fault, True)

    with pytest.raises(error) as raised:
        await write(DeploymentService(repository, audit=audit, instrument=meter), "web", 5, "shop")

    assert stored(repository) == 3
    (event,) = audit.events
    assert (event.outcome, event.reason) == (outcome, str(raised.value))
    assert (event.namespace, event.new_replicas) == ("shop", 5)
    assert [each for each, _ in meter.writes] == [outcome.value]


@pytest.mark.parametrize(
    ("name", "namespace", "error", "recorded"),
    [
        ("Web", "shop", InvalidName, "shop"),
        ("web", "Shop", InvalidName, "Shop"),
        ("web", "", InvalidName, ""),
        ("nothing", "shop", DeploymentNotFound, "shop"),
        ("nothing", None, DeploymentNotFound, "*"),
        ("api", None, AmbiguousName, "*"),
    ],
)
async def test_what_cannot_be_found_is_rejected_and_recorded(
    repository: MemoryDeploymentRepository,
    audit: ListedAudit,
    name: str,
    namespace: str | None,
    error: type[KdmError],
    recorded: str,
) -> None:
    with pytest.raises(error):
        await write(DeploymentService(repository, audit=audit), name, 5, namespace)

    (event,) = audit.events
    assert (event.outcome, event.name, event.namespace) == (Outcome.REJECTED, name, recorded)
    assert (event.old_replicas, event.new_replicas, event.actor) == (None, 5, LOCAL.identity)


async def test_a_namespace_that_is_not_watched_is_rejected(audit: ListedAudit) -> None:
    async with MemoryDeploymentRepository(namespaces=["shop"]) as repository:
        with pytest.raises(NamespaceNotWatched):
            await write(DeploymentService(repository, audit=audit), "web", 5, "payments")
    assert [each.outcome for each in audit.events] == [Outcome.REJECTED]


async def test_the_cluster_has_the_last_word_on_what_exists(repository: MemoryDeploymentRepository) -> None:
    """What was created a moment ago can be scaled before the watch has told of it."""
    repository.break_watch()
    repository.cluster.create(DeploymentRef("shop", "new"), 1)

    written = await write(DeploymentService(repository), "new", 2, "shop")

    assert written.replicas.desired == 2


async def test_a_precondition_is_passed_on(repository: MemoryDeploymentRepository) -> None:
    service = DeploymentService(repository)
    version = service.find("web").resource_version
    await write(service, "web", 4, expect=Expect(resource_version=version))
    with pytest.raises(WriteConflict):
        await write(service, "web", 5, expect=Expect(resource_version=version))
    assert stored(repository) == 4


class TestPermission:
    async def test_is_for_a_verb(self, repository: MemoryDeploymentRepository, audit: ListedAudit) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", READ)), audit=audit)

        with pytest.raises(Forbidden, match="'scale' on Deployment 'shop/web' to 5 replicas"):
            await write(service, "web", 5, caller=Caller(ALICE))

        assert stored(repository) == 3
        (event,) = audit.events
        assert (event.outcome, event.verb, event.actor) == (Outcome.DENIED, SCALE, ALICE)

    async def test_a_denial_without_a_namespace_is_recorded_with_the_one_it_is_about(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        """Of a write and of a read, where the name leads to one Deployment that the caller may know of; else "*"."""
        allowed = policy(
            grant("alice", READ, namespaces="shop"), grant("alice", SCALE, names="other"), grant("bob", SCALE)
        )
        service = DeploymentService(repository, policy=allowed, audit=audit)
        with pytest.raises(Forbidden):
            await write(service, "web", 5, caller=Caller(ALICE))
        with pytest.raises(Forbidden):
            await write(service, "api", 5, caller=Caller(ALICE))
        with pytest.raises(Forbidden):
            service.find("web", caller=Caller(Identity("bob")))
        with pytest.raises(Forbidden):
            await write(service, "web", 5, caller=Caller(MALLORY))
        recorded = [(each.actor.user, each.name, each.namespace) for each in audit.events]
        assert recorded == [
            ("alice", "web", "shop"),
            ("alice", "api", "shop"),
            ("bob", "web", "shop"),
            ("mallory", "web", "*"),  # who may know of nothing is told of nothing, and neither is the trail
        ]

    async def test_is_for_a_count(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", SCALE, maximum=5)))
        await write(service, "web", 5, "shop", caller=Caller(ALICE))
        with pytest.raises(Forbidden, match="to 6 replicas"):
            await write(service, "web", 6, "shop", caller=Caller(ALICE))
        assert stored(repository) == 5

    async def test_comes_before_existence(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", READ, SCALE, names="api")))
        for name in ("web", "nothing"):
            with pytest.raises(Forbidden):
                await write(service, name, 5, "shop", caller=Caller(ALICE))

    async def test_decides_among_namespaces(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", READ, SCALE, namespaces="payments")))
        written = await write(service, "api", 5, caller=Caller(ALICE))
        assert written.ref == DeploymentRef("payments", "api")
        assert stored(repository, DeploymentRef("shop", "api")) == 8

    async def test_to_read_more_does_not_make_a_write_guess(self, repository: MemoryDeploymentRepository) -> None:
        """Who sees both is asked which, though only one of them can be scaled."""
        allowed = policy(grant("alice", READ), grant("alice", SCALE, namespaces="payments"))
        with pytest.raises(AmbiguousName):
            await write(DeploymentService(repository, policy=allowed), "api", 5, caller=Caller(ALICE))

    async def test_by_labels_needs_a_known_deployment(self, repository: MemoryDeploymentRepository) -> None:
        repository.cluster.relabel(WEB, {"tier": "edge"})
        service = DeploymentService(repository, policy=policy(grant("alice", SCALE, tier="edge")))
        await write(service, "web", 5, "shop", caller=Caller(ALICE))
        repository.break_watch()
        repository.cluster.create(DeploymentRef("shop", "new"), 1, labels={"tier": "edge"})
        with pytest.raises(Forbidden):
            await write(service, "new", 5, "shop", caller=Caller(ALICE))

    async def test_nobody_else_is_let_in(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", SCALE)))
        for actor in (MALLORY, LOCAL.identity, Identity("Alice"), Identity("")):
            with pytest.raises(Forbidden):
                await write(service, "web", 5, "shop", caller=Caller(actor))


class TestAuditTrail:
    async def test_without_it_nothing_is_written(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        audit.full = True
        with pytest.raises(AuditUnavailable, match=r"^the disk is full$"):
            await write(DeploymentService(repository, audit=audit), "web", 5)
        assert stored(repository) == 3

    async def test_a_write_that_was_not_recorded_is_told_to_have_happened(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The caller must not try again as if nothing had been written; the log keeps what the trail has lost."""
        audit.full_at_record = True

        with pytest.raises(AuditUnavailable, match="the write was done, but not recorded: the disk is full"):
            await write(DeploymentService(repository, audit=audit), "web", 5, caller=Caller(ALICE))

        assert stored(repository) == 5
        (record,) = (each for each in caplog.records if each.levelno >= logging.ERROR)
        _, _, line = record.getMessage().partition("the disk is full: ")
        fields = json.loads(line)
        assert (fields["actor"], fields["namespace"], fields["name"], fields["new_replicas"]) == (
            "alice",
            "shop",
            "web",
            5,
        )

    async def test_a_failure_that_was_not_recorded_stays_what_it_was(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        audit.full_at_record = True
        with pytest.raises(InvalidReplicas):
            await write(DeploymentService(repository, audit=audit), "web", -1)

    async def test_a_cancelled_write_may_have_happened(self, audit: ListedAudit) -> None:
        async with SlowRepository() as repository:
            repository.cluster.create(WEB, 3)
            writing = asyncio.create_task(write(DeploymentService(repository, audit=audit), "web", 5, "shop"))
            await repository.writing.wait()

            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing

            assert stored(repository) == 5
        (event,) = audit.events
        assert (event.outcome, event.old_replicas, event.new_replicas) == (Outcome.FAILED, 3, 5)
        assert event.reason == "cancelled: it may have been written"

    async def test_a_bug_is_recorded_without_its_details(self, audit: ListedAudit) -> None:
        async with BrokenRepository() as repository:
            repository.cluster.create(WEB, 3)
            with pytest.raises(RuntimeError, match="a secret"):
                await write(DeploymentService(repository, audit=audit), "web", 5)
        (event,) = audit.events
        assert (event.outcome, event.reason) == (Outcome.FAILED, "internal error: RuntimeError")

    async def test_concurrent_writes_leave_one_event_each(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        service = DeploymentService(repository, audit=audit)
        expected = Expect(resource_version=service.find("web").resource_version)

        results = await asyncio.gather(
            *(write(service, "web", n, caller=Caller(LOCAL.identity, str(n)), expect=expected) for n in range(4, 9)),
            return_exceptions=True,
        )

        assert sorted(each.request_id for each in audit.events) == ["4", "5", "6", "7", "8"]
        written = [each.new_replicas for each in audit.events if each.outcome is Outcome.SUCCESS]
        assert written == [stored(repository)]
        assert sum(isinstance(each, WriteConflict) for each in results) == 4
