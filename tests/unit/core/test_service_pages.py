"""Lists with labels, limits and pages: what exists throughout is seen exactly once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import (
    Caller,
    Deployment,
    DeploymentRef,
    DeploymentService,
    InvalidQuery,
    LabelSelector,
    Page,
    Query,
    Verb,
)
from unit.core.fixtures import ALICE, WEB, grant, policy

READ = Verb.READ


def pages(service: DeploymentService, limit: int, query: Query, caller: Caller) -> Iterator[Page]:
    page = service.list(Query(query.namespace, query.selector, limit), caller)
    yield page
    while page.next is not None:
        page = service.list(Query(query.namespace, query.selector, limit, page.next), caller)
        yield page


def test_a_plain_list_is_the_repositorys_own(repository: MemoryDeploymentRepository) -> None:
    class Same(MemoryDeploymentRepository):
        """Returns the same tuple again, as the Kubernetes repository does."""

        everything: tuple[Deployment, ...] = (repository.get(WEB),)

        def list(self, namespace: str = "*") -> tuple[Deployment, ...]:
            assert namespace in {"*", "shop"}
            return self.everything

    held = Same()
    for namespace in ("*", "shop"):
        page = DeploymentService(held).list(Query(namespace))
        assert page.deployments is held.everything
        assert (page.whole, page.next, page.remaining) == (True, None, 0)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
@pytest.mark.parametrize("restricted", [False, True])
def test_pages_put_together_are_the_list(repository: MemoryDeploymentRepository, limit: int, restricted: bool) -> None:
    service = DeploymentService(repository)
    if restricted:
        service.policy = policy(grant("alice", READ, names="api"))
    whole = service.list(caller=Caller(ALICE))
    found = list(pages(service, limit, Query(), Caller(ALICE)))
    assert tuple(each for page in found for each in page.deployments) == whole.deployments
    assert all(len(page.deployments) <= limit for page in found)
    assert all(page.deployments for page in found)
    assert whole.whole is not restricted
    if not restricted:
        left = len(whole.deployments)
        for page in found:
            left -= len(page.deployments)
            assert page.remaining == left


@given(
    st.sets(st.sampled_from("abcdef"), min_size=1),
    st.lists(st.tuples(st.booleans(), st.sampled_from("abcdef")), max_size=6),
    st.integers(1, 4),
)
async def test_what_exists_throughout_is_seen_exactly_once(
    before: set[str], edits: list[tuple[bool, str]], limit: int
) -> None:
    """Whatever others create and delete between two pages."""
    async with MemoryDeploymentRepository() as repository:
        for name in before:
            repository.cluster.create(DeploymentRef("shop", name), 1)
        service = DeploymentService(repository)
        throughout = set(before)
        seen: list[str] = []
        changes = iter(edits)
        for page in pages(service, limit, Query("shop"), Caller(ALICE)):
            seen += [each.ref.name for each in page.deployments]
            create, name = next(changes, (True, "a"))
            ref = DeploymentRef("shop", name)
            if create:
                if ref not in repository.cluster.deployments:
                    repository.cluster.create(ref, 1)
            elif ref in repository.cluster.deployments:
                repository.cluster.delete(ref)
                throughout.discard(name)
        assert seen == sorted(set(seen)), "in order, and none twice"
        assert throughout <= set(seen)


def test_labels_select(repository: MemoryDeploymentRepository) -> None:
    repository.cluster.relabel(WEB, {"tier": "edge"})
    service = DeploymentService(repository)
    selected = service.list(Query(selector=LabelSelector.parse("tier in (edge)")))
    others = service.list(Query(selector=LabelSelector.parse("tier notin (edge)")))
    assert [each.ref for each in selected.deployments] == [WEB]
    assert [str(each.ref) for each in others.deployments] == ["payments/api", "shop/api"]
    assert not selected.whole


def test_labels_do_not_show_what_the_policy_hides(repository: MemoryDeploymentRepository) -> None:
    repository.cluster.relabel(WEB, {"tier": "edge"})
    service = DeploymentService(repository, policy=policy(grant("alice", READ, names="api")))
    page = service.list(Query(selector=LabelSelector.parse("tier=edge"), limit=1), Caller(ALICE))
    assert page == Page(())


def test_a_page_may_begin_after_what_is_gone(repository: MemoryDeploymentRepository) -> None:
    page = DeploymentService(repository).list(Query(after=DeploymentRef("shop", "b")))
    assert [each.ref for each in page.deployments] == [WEB]


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "many" * 100])
def test_a_limit_that_is_none_is_refused(limit: int) -> None:
    with pytest.raises(InvalidQuery, match="positive integer") as raised:
        Query(limit=limit)
    assert len(str(raised.value)) < 100
