"""Following through the service: what comes into a caller's view is added, what goes out of it is deleted."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import (
    ALLOW_ALL,
    Caller,
    ChangeKind,
    Deployment,
    DeploymentRef,
    DeploymentService,
    Forbidden,
    InvalidName,
    LabelSelector,
    NamespaceNotWatched,
    Outcome,
    Policy,
    Query,
    Verb,
)
from kdm_core.testing import Follower
from unit.core.fixtures import ALICE, MALLORY, WEB, ListedAudit, grant, policy

API = DeploymentRef("shop", "api")
READ = Verb.READ
EDGE = policy(grant("alice", READ, tier="edge"))


def follow(service: DeploymentService, query: Query | None = None) -> Follower:
    return Follower(service.changes(query or Query(), Caller(ALICE)))


def told(follower: Follower) -> list[tuple[str, str]]:
    return [(each.kind.value, each.deployment.ref.name) for each in follower.seen if each.deployment]


def visible(service: DeploymentService) -> dict[DeploymentRef, Deployment]:
    """Return what ALICE could list in the namespace."""
    try:
        return {each.ref: each for each in service.list(Query("shop"), Caller(ALICE)).deployments}
    except Forbidden:
        return {}


@pytest.mark.parametrize("by", ["policy", "selector"])
async def test_what_gets_the_label_is_added_and_what_loses_it_is_deleted_as_it_was_seen(
    repository: MemoryDeploymentRepository, by: str
) -> None:
    service = DeploymentService(repository, policy=EDGE if by == "policy" else ALLOW_ALL)
    query = Query("shop", LabelSelector.parse("tier=edge" if by == "selector" else ""))
    follower = follow(service, query)
    await follower.until_synced()

    repository.cluster.relabel(WEB, {"tier": "edge"})
    repository.cluster.scale(WEB, 7)
    repository.cluster.scale(API, 9)
    await follower.until_replicas(WEB, 7)
    repository.cluster.relabel(WEB, {"tier": "secret"})
    await follower.until(lambda change: change.kind is ChangeKind.DELETED)
    await follower.aclose()

    assert {name for _, name in told(follower)} == {"web"}
    assert told(follower)[0] == ("added", "web")
    last = follower.seen[-1].deployment
    assert last is not None
    assert last.labels == {"tier": "edge"}, "how it is now is not for them to see"
    assert not follower.state


async def test_another_policy_adds_and_deletes_what_it_shows_and_hides(
    repository: MemoryDeploymentRepository,
) -> None:
    service = DeploymentService(repository, policy=policy(grant("alice", READ, names="api")))
    follower = follow(service, Query("shop"))
    await follower.until_synced()
    waiting = asyncio.create_task(follower.until(lambda change: change.kind is ChangeKind.DELETED))
    await asyncio.sleep(0)  # it waits for a change

    service.policy = policy(grant("alice", READ, names="web"))
    await waiting

    assert told(follower) == [("present", "api"), ("added", "web"), ("deleted", "api")]
    repository.cluster.scale(API, 5)
    repository.cluster.scale(WEB, 5)
    await follower.until_replicas(WEB, 5)
    await follower.aclose()
    assert list(follower.state) == [WEB]


async def test_a_policy_that_takes_everything_deletes_everything(repository: MemoryDeploymentRepository) -> None:
    service = DeploymentService(repository)
    follower = follow(service, Query("shop"))
    await follower.until_synced()
    service.policy = policy()
    for _ in range(2):
        assert (await follower.next()).kind is ChangeKind.DELETED
    service.policy = ALLOW_ALL
    for _ in range(2):
        assert (await follower.next()).kind is ChangeKind.ADDED
    await follower.aclose()
    assert sorted(follower.state) == [API, WEB]


async def test_a_policy_that_changes_before_the_present_state_is_complete(
    repository: MemoryDeploymentRepository,
) -> None:
    service = DeploymentService(repository, policy=policy(grant("alice", READ, names="api")))
    follower = follow(service)
    assert (await follower.next()).kind is ChangeKind.PRESENT
    service.policy = policy(grant("alice", READ, namespaces="shop"))
    await follower.until_synced()
    while sorted(follower.state) != [API, WEB]:
        await follower.next()
    await follower.aclose()


_WHICH = st.sampled_from([DeploymentRef("shop", name) for name in "ab"])
_STEPS = st.lists(
    st.tuples(st.just("relabel"), _WHICH, st.sampled_from(["edge", "core"]))
    | st.tuples(st.just("scale"), _WHICH, st.integers(0, 3))
    | st.tuples(st.just("recreate"), _WHICH, st.just(0))
    | st.tuples(st.just("delete"), _WHICH, st.just(0))
    | st.tuples(st.just("policy"), _WHICH, st.sampled_from(["all", "edge", "a", "none"]))
    | st.tuples(st.just("read"), _WHICH, st.just(0)),
    max_size=25,
)
_POLICIES: dict[object, Policy] = {
    "all": ALLOW_ALL,
    "edge": EDGE,
    "a": policy(grant("alice", READ, names="a"), grant("alice", READ, namespaces="blog")),
    "none": policy(),
}


@given(_STEPS)
async def test_what_a_follower_adds_up_is_what_it_could_list(steps: list[tuple[str, DeploymentRef, object]]) -> None:
    """Through any history of labels, counts, deletions and policies, read at any pace."""
    async with MemoryDeploymentRepository(buffer=16) as repository:
        service = DeploymentService(repository)
        follower = follow(service, Query("shop"))
        for what, ref, value in steps:
            held = ref in repository.cluster.deployments
            if what == "policy":
                service.policy = _POLICIES[value]
            elif what == "read":
                if not follower.synced or dict(follower.state) != visible(service):
                    await follower.next()
            elif what == "recreate" or not held:
                repository.cluster.create(ref, 1, labels={"tier": "edge"})
            elif what == "delete":
                repository.cluster.delete(ref)
            elif what == "scale":
                repository.cluster.scale(ref, int(str(value)))
            else:
                repository.cluster.relabel(ref, {"tier": str(value)})
        await asyncio.sleep(0)  # statuses follow
        while not follower.synced or dict(follower.state) != visible(service):
            await follower.next()
        await follower.aclose()


async def test_who_may_read_nothing_there_cannot_follow_it(
    repository: MemoryDeploymentRepository, audit: ListedAudit
) -> None:
    service = DeploymentService(repository, policy=policy(grant("alice", READ, namespaces="shop")), audit=audit)
    with pytest.raises(Forbidden, match="namespace 'payments'"):
        service.changes(Query("payments"), Caller(ALICE, "r1"))
    with pytest.raises(Forbidden, match="any namespace"):
        service.changes(caller=Caller(MALLORY))
    assert [(each.outcome, each.request_id) for each in audit.events] == [(Outcome.DENIED, "r1"), (Outcome.DENIED, "")]


async def test_what_cannot_be_followed_says_so() -> None:
    async with MemoryDeploymentRepository(namespaces=["shop"]) as repository:
        service = DeploymentService(repository)
        with pytest.raises(InvalidName):
            service.changes(Query("Shop"))
        with pytest.raises(NamespaceNotWatched):
            await Follower(service.changes(Query("payments"))).next()


async def test_who_falls_behind_begins_again_with_what_it_may_see() -> None:
    async with MemoryDeploymentRepository(buffer=4) as repository:
        repository.cluster.create(API, 1)
        repository.cluster.create(WEB, 1, labels={"tier": "edge"})
        follower = follow(DeploymentService(repository, policy=EDGE))
        await follower.until_synced()
        for replicas in range(2, 20):
            repository.cluster.scale(WEB, replicas)
        await follower.until(lambda change: change.kind is ChangeKind.LAGGED)
        await follower.until_synced()
        while follower.state[WEB].replicas.desired != 19:
            await follower.next()
        await follower.aclose()
        assert list(follower.state) == [WEB]


async def test_following_ends_when_the_repository_stops() -> None:
    async with MemoryDeploymentRepository() as repository:
        follower = follow(DeploymentService(repository))
        await follower.until_synced()
        waiting = asyncio.create_task(follower.next())
        await asyncio.sleep(0)  # it begins to wait
    with pytest.raises(StopAsyncIteration):
        await waiting


async def test_a_follower_that_is_closed_leaves_nothing_behind(repository: MemoryDeploymentRepository) -> None:
    service = DeploymentService(repository)
    follower = follow(service)
    await follower.until_synced()
    waiting = asyncio.create_task(follower.next())
    await asyncio.sleep(0)  # it begins to wait
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    service.policy = policy()  # nobody is left to be told
