"""Reading through the service: which Deployment is meant, and who may see it."""

from __future__ import annotations

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import (
    ALL_NAMESPACES,
    AmbiguousName,
    CacheNotSynced,
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
from unit.core.fixtures import ALICE, MALLORY, WEB, ListedAudit, Meter, grant, policy

READ, SCALE = Verb.READ, Verb.SCALE


class TestWhichOneIsMeant:
    def test_a_name_and_its_namespace(self, repository: MemoryDeploymentRepository) -> None:
        found = DeploymentService(repository).get("api", "shop")
        assert (found.ref, found.replicas.desired) == (DeploymentRef("shop", "api"), 8)

    @pytest.mark.parametrize("namespace", [None, ALL_NAMESPACES])
    def test_a_name_that_is_unique(self, repository: MemoryDeploymentRepository, namespace: str | None) -> None:
        assert DeploymentService(repository).get("web", namespace).ref == WEB

    def test_a_name_that_is_not_is_never_guessed(self, repository: MemoryDeploymentRepository) -> None:
        with pytest.raises(AmbiguousName) as raised:
            DeploymentService(repository).get("api")
        assert raised.value.namespaces == ("payments", "shop")

    def test_the_configured_namespace_settles_it(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, namespace="payments")

        assert service.get("api").replicas.desired == 4
        assert service.get("api", "shop").replicas.desired == 8
        assert service.get("web", ALL_NAMESPACES).ref == WEB
        with pytest.raises(DeploymentNotFound, match="'payments/web' not found"):
            service.get("web")

    def test_what_is_nowhere(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository)
        with pytest.raises(DeploymentNotFound, match="'nothing' not found in any namespace"):
            service.get("nothing")
        with pytest.raises(DeploymentNotFound, match="'shop/nothing' not found"):
            service.get("nothing", "shop")

    async def test_a_namespace_that_is_not_watched(self) -> None:
        async with MemoryDeploymentRepository(namespaces=["shop"]) as repository:
            service = DeploymentService(repository)
            with pytest.raises(NamespaceNotWatched, match="managed are: shop"):
                service.get("web", "payments")
            with pytest.raises(NamespaceNotWatched):
                service.list("payments")

    @pytest.mark.parametrize(
        ("name", "namespace"), [("Web", None), ("", None), ("web", ""), ("web", "a.b"), ("web", "**")]
    )
    def test_what_can_be_no_name(
        self, repository: MemoryDeploymentRepository, name: str, namespace: str | None
    ) -> None:
        with pytest.raises(InvalidName):
            DeploymentService(repository).get(name, namespace)

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
                service.get("web", namespace)
        with pytest.raises(CacheNotSynced):
            service.list()


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
        listed = DeploymentService(repository, namespace=configured).list(asked)
        assert [str(each.ref) for each in listed] == expected

    def test_show_what_the_actor_may_read_and_no_more(self, repository: MemoryDeploymentRepository) -> None:
        allowed = policy(grant("alice", READ, names="api"), grant("alice", SCALE, names="web"))
        listed = DeploymentService(repository, policy=allowed).list(actor=ALICE)
        assert [str(each.ref) for each in listed] == ["payments/api", "shop/api"]

    def test_by_labels(self, repository: MemoryDeploymentRepository) -> None:
        repository.cluster.relabel(WEB, {"tier": "edge"})
        allowed = policy(grant("alice", READ, tier="edge"))
        assert [each.ref for each in DeploymentService(repository, policy=allowed).list(actor=ALICE)] == [WEB]

    def test_who_may_read_nothing_there_is_refused(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", READ, namespaces="shop")), audit=audit)

        with pytest.raises(Forbidden, match="namespace 'payments'"):
            service.list("payments", actor=ALICE, request_id="r1")
        with pytest.raises(Forbidden, match="any namespace"):
            service.list(actor=MALLORY)

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
                service.get(name, "shop", actor=ALICE)
            messages.append(str(raised.value).replace(name, "..."))
        assert messages[0] == messages[1]
        assert {each.outcome for each in audit.events} == {Outcome.DENIED}

    async def test_comes_before_what_is_watched(self) -> None:
        async with MemoryDeploymentRepository(namespaces=["shop"]) as repository:
            service = DeploymentService(repository, policy=policy(grant("alice", READ, namespaces="shop")))
            with pytest.raises(Forbidden):
                service.get("web", "payments", actor=ALICE)

    def test_across_namespaces_what_is_hidden_does_not_exist(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, policy=policy(grant("alice", READ, namespaces="shop")))

        assert service.get("api", actor=ALICE).ref == DeploymentRef("shop", "api")
        repository.cluster.create(DeploymentRef("payments", "ledger"), 1)
        with pytest.raises(DeploymentNotFound, match="'ledger' not found"):
            service.get("ledger", actor=ALICE)

    def test_who_may_read_nothing_at_all_is_told_so(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository, policy=policy())
        for name in ("web", "nothing"):
            with pytest.raises(Forbidden, match=f"'read' on Deployment '{name}'"):
                service.get(name, actor=MALLORY)

    def test_the_policy_can_be_swapped(self, repository: MemoryDeploymentRepository) -> None:
        service = DeploymentService(repository)
        assert service.get("web", actor=MALLORY).ref == WEB

        service.policy = policy()

        with pytest.raises(Forbidden):
            service.get("web", actor=MALLORY)

    def test_a_refused_read_is_recorded(self, repository: MemoryDeploymentRepository, audit: ListedAudit) -> None:
        service = DeploymentService(repository, policy=policy(), audit=audit, namespace="shop")

        with pytest.raises(Forbidden):
            service.get("web", actor=MALLORY, request_id="r1")

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
            DeploymentService(repository, policy=policy(), audit=audit).get("web", actor=MALLORY)

    def test_reads_that_are_allowed_leave_no_trail(
        self, repository: MemoryDeploymentRepository, audit: ListedAudit
    ) -> None:
        service = DeploymentService(repository, audit=audit)
        service.get("web")
        service.list()
        with pytest.raises(DeploymentNotFound):
            service.get("nothing")
        assert audit.events == []


def test_reads_are_counted_by_how_they_were_answered(repository: MemoryDeploymentRepository) -> None:
    meter = Meter()
    service = DeploymentService(repository, instrument=meter)
    service.get("web", "shop")
    service.get("web")
    service.list("shop")
    assert meter.reads == ["get", "find", "list"]
