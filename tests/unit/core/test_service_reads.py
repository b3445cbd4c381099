"""Reading through the service: which Deployment is meant, and who may see it."""

from __future__ import annotations

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import (
    ALL_NAMESPACES,
    AmbiguousName,
    CacheNotSynced,
    Caller,
    DeploymentNotFound,
    DeploymentRef,
    DeploymentService,
    Forbidden,
    InvalidName,
    InvalidReplicas,
    NamespaceNotWatched,
    Outcome,
    Verb,
)
from unit.core.fixtures import ALICE, MALLORY, WEB, ListedAudit, Meter, grant, listed, policy

READ, SCALE = Verb.READ, Verb.SCALE


class TestWhichOneIsMeant:
    def test_a_name_and_its_namespace(self, repository: MemoryDeploymentRepository) -> None:
        found = DeploymentService(repository).find("api", "shop")
        assert (found.ref, found.replicas.desired) == (DeploymentRef("shop", "api"), 8)

    @pytest.mark.parametrize("namespace", [None, ALL_NAMESPACES])
    def test_a_name_that_is_unique(self, repository: MemoryDeploymentRepository, namespace: str | None) -> None:
        assert DeploymentService(repository).find("web", namespace).ref == WEB

    def test_a_name_that_is_not_is_never_guessed(self, repository: MemoryDeploymentRepository) -> None:
        with pytest.raises(AmbiguousName) as raised:
            DeploymentService(repository).find("api")
        assert raised.value.namespaces == ("payments", "shop")

    def test_the_configured_namespace_settles_it(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, namespace="payments")

        assert service.find("api").replicas.desired == 4
        assert service.find("api", "shop").replicas.desired == 8
        assert service.find("web", ALL_NAMESPACES).ref == WEB
        with pytest.raises(DeploymentNotFound, match="'payments/web' not found"):
            service.find("web")

    def test_what_is_nowhere(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository)
        with pytest.raises(DeploymentNotFound, match="'nothing' not found in any namespace"):
            service.find("nothing")
        with pytest.raises(DeploymentNotFound, match="'shop/nothing' not found"):
            service.find("nothing", "shop")

    async def test_a_namespace_that_is_not_watched(self) -> None:
        async with MemoryDeploymentRepository(namespaces=["shop"]) as repository:
            service = DeploymentService(repository)
            with pytest.raises(NamespaceNotWatched, match="managed are: shop"):
                service.find("web", "payments")
            with pytest.raises(NamespaceNotWatched):
                listed(service, "payments")

    @pytest.mark.parametrize(
        ("name", "namespace"), [("Web", None), ("", None), ("web", ""), ("web", "a.b"), ("web", "**")]
    )
    def test_what_can_be_no_name(
        self, repository: MemoryDeploymentRepository, name: str, namespace: str | None
    ) -> None:
        with pytest.raises(InvalidName):
            DeploymentService(repository).find(name, namespace)

    def test_configuration_is_checked(self, repository: MemoryDeploymentRepository) -> None:
        with pytest.raises(InvalidName):
            DeploymentService(repository, namespace="Shop")
        with pytest.raises(InvalidReplicas):
            DeploymentService(repository, max_replicas=-1)

    def test_before_the_first_sync_nothing_is_said_not_to_exist(self, repository: MemoryDeploymentRepository) -> None:
        repository.faults.not_synced = True
        service = DeploymentService(repository)
        for namespace in ("shop", None):
            with pytest.raises(CacheNotSynced):
                service.find("web", namespace)
        with pytest.raises(CacheNotSynced):
            listed(service)


class TestLists:
    @pytest.mark.parametrize(
        ("configured", "asked", "expected"),
        [
            (ALL_NAMESPACES, None, ["payments/api", "shop/api", "shop/web"]),
            (ALL_NAMESPACES, "shop", ["shop/api", "shop/web"]),
            ("payments", None, ["payments/api"]),
            ("payments", ALL_NAMESPACES, ["payments/api", "shop/api", "shop/web"]),
            ("payments", "empty", []),
        ],
    )
    def test_of_the_namespaces_meant(
        self, repository: MemoryDeploymentRepository, configured: str, asked: str | None, expected: list[str]
    ) -> None:
        found = listed(DeploymentService(repository, namespace=configured), asked)
        assert [str(each.ref) for each in found] == expected

    def test_show_what_the_actor_may_read_and_no_more(self, repository: MemoryDeploymentRepository) -> None:
        allowed = policy(grant("alice", READ, names="api"), grant("alice", SCALE, names="web"))
        found = listed(DeploymentService(repository, policy=allowed), caller=Caller(ALICE))
        assert [str(each.ref) for each in found] == ["payments/api", "shop/api"]

    def test_by_labels(self, repository: MemoryDeploymentRepository) -> None:
        repository.cluster.relabel(WEB, {"tier": "edge"})
        allowed = policy(grant("alice", READ, tier="edge"))
        assert [each.ref for each in listed(DeploymentService(repository, policy=allowed), caller=Caller(ALICE))] == [
            WEB
        ]

    def test_who_may_read_nothing_there_is_refused(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", READ, namespaces="shop")), audit=audit)

        with pytest.raises(Forbidden, match="namespace 'payments'"):
            listed(service, "payments", caller=Caller(ALICE, "r1"))
        with pytest.raises(Forbidden, match="any namespace"):
            listed(service, caller=Caller(MALLORY))

        first, second = audit.events
        assert (first.actor, first.verb, first.namespace, first.name) == (ALICE, READ, "payments", "")
        assert (first.outcome, first.request_id) == (Outcome.DENIED, "r1")
        assert (second.actor, second.namespace) == (MALLORY, "*")


class TestPermission:
    def test_comes_before_existence(self, repository: MemoryDeploymentRepository, audit: ListedAudit) -> None:
        """Who may not read a name learns nothing by asking for it."""
        service = DeploymentService(repository, policy=policy(grant("alice", READ, names="api")), audit=audit)
        messages = []
        for name in ("web", "nothing"):
            with pytest.raises(Forbidden) as raised:
                service.find(name, "shop", caller=Caller(ALICE))
            messages.append(str(raised.value).replace(name, "..."))
        assert messages[0] == messages[1]
        assert {each.outcome for each in audit.events} == {Outcome.DENIED}

    async def test_comes_before_what_is_watched(self) -> None:
        async with MemoryDeploymentRepository(namespaces=["shop"]) as repository:
            service = DeploymentService(repository, policy=policy(grant("alice", READ, namespaces="shop")))
            with pytest.raises(Forbidden):
                service.find("web", "payments", caller=Caller(ALICE))

    def test_across_namespaces_what_is_hidden_does_not_exist(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", READ, namespaces="shop")))

        assert service.find("api", caller=Caller(ALICE)).ref == DeploymentRef("shop", "api")
        repository.cluster.create(DeploymentRef("payments", "ledger"), 1)
        with pytest.raises(DeploymentNotFound, match="'ledger' not found"):
            service.find("ledger", caller=Caller(ALICE))

    def test_who_may_read_nothing_at_all_is_told_so(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, policy=policy())
        for name in ("web", "nothing"):
            with pytest.raises(Forbidden, match=f"'read' on Deployment '{name}'"):
                service.find(name, caller=Caller(MALLORY))

    def test_the_policy_can_be_swapped(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository)
        assert service.find("web", caller=Caller(MALLORY)).ref == WEB

        service.policy = policy()

        with pytest.raises(Forbidden):
            service.find("web", caller=Caller(MALLORY))

    def test_a_refused_read_is_recorded(self, repository: MemoryDeploymentRepository, audit: ListedAudit) -> None:
        service = DeploymentService(repository, policy=policy(), audit=audit, namespace="shop")

        with pytest.raises(Forbidden):
            service.find("web", caller=Caller(MALLORY, "r1"))

        (event,) = audit.events
        assert (event.actor, event.verb, event.namespace, event.name) == (MALLORY, READ, "shop", "web")
        assert (event.outcome, event.request_id) == (Outcome.DENIED, "r1")
        assert "mallory" in event.reason
        assert event.time.utcoffset() is not None

    def test_a_refusal_stands_though_it_cannot_be_recorded(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        audit.full = True
        with pytest.raises(Forbidden):
            DeploymentService(repository, policy=policy(), audit=audit).find("web", caller=Caller(MALLORY))

    def test_reads_that_are_allowed_leave_no_trail(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        service = DeploymentService(repository, audit=audit)
        service.find("web")
        listed(service)
        with pytest.raises(DeploymentNotFound):
            service.find("nothing")
        assert audit.events == []


def test_reads_are_counted_by_how_they_were_answered(repository: MemoryDeploymentRepository) -> None:
    meter = Meter()
    service = DeploymentService(repository, instrument=meter)
    service.find("web", "shop")
    service.find("web")
    listed(service, "shop")
    assert meter.reads == ["get", "find", "list"]
