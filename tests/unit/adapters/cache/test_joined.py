"""What is joined with a Deployment stays with it exactly as long as it is true of it."""

from __future__ import annotations

import pytest
from attrs import evolve

from kdm_adapters.cache.own_writes import written_over
from kdm_adapters.cache.store import Store
from kdm_core.attribution import LastChange
from kdm_core.model import Deployment, DeploymentRef, ReplicaStatus
from kdm_core.owners import Owner, OwnerType
from kdm_core.parked import Parked

WEB = DeploymentRef("shop", "web")
HPA = Owner("HorizontalPodAutoscaler", "web", 2, 10, OwnerType.AUTOSCALER)
ARGO = Owner("Application", "shop")


def web(version: int, desired: int, changed: LastChange | None = None, uid: str = "u1") -> Deployment:
    return Deployment(WEB, uid, str(version), version, version, ReplicaStatus(desired), last_change=changed)


@pytest.fixture
def store() -> Store:
    store = Store()
    store.put(web(1, 1, LastChange(100, "kubectl")))
    return store


def held(store: Store) -> Deployment:
    found = store.get("shop", "web")
    assert found is not None
    return found


def write(store: Store, version: int, desired: int) -> Deployment:
    written = written_over(held(store), str(version), desired)
    store.put(written)
    store.joined.asked(written, "alice", "sale")
    return written


def shown(store: Store) -> tuple[str, str]:
    last = held(store).last_change
    return ("", "") if last is None else (last.manager, last.actor)


def test_a_write_is_shown_with_its_actor_before_and_after_the_cluster_delivers_it(store: Store) -> None:
    write(store, 2, 5)
    assert shown(store) == ("kdm", "alice")
    store.put(web(2, 5, LastChange(200, "kdm")))
    assert held(store).last_change == LastChange(200, "kdm", "alice", "sale")
    store.put(web(3, 5, LastChange(200, "kdm")))
    assert held(store).last_change == LastChange(200, "kdm", "alice", "sale")


def test_an_event_that_overtakes_the_answer_loses_no_actor(store: Store) -> None:
    written = written_over(held(store), "2", 5)
    store.put(web(2, 5, LastChange(200, "kdm")))
    store.joined.asked(written, "alice", "sale")
    assert held(store).last_change == LastChange(200, "kdm", "alice", "sale")


@pytest.mark.parametrize(
    "later",
    [
        web(3, 6, LastChange(300, "kubectl")),
        web(3, 5, LastChange(300, "kubectl")),  # somebody else asked for the same count, after another one
        web(3, 5, LastChange(300, "kdm")),  # so did another kdm
        web(3, 5, LastChange(300, "kdm"), uid="u2"),
    ],
)
def test_somebody_elses_change_is_not_said_to_be_the_actors(store: Store, later: Deployment) -> None:
    write(store, 2, 5)
    store.put(web(2, 5, LastChange(200, "kdm")))
    store.put(later)
    assert held(store) == later


def test_owners_that_are_objects_come_and_go_and_marks_of_the_deployment_stay(store: Store) -> None:
    store.put(evolve(held(store), owners=(ARGO,)))
    store.joined.owners(WEB, (HPA,))
    assert held(store).owners == (ARGO, HPA)
    store.put(written_over(held(store), "2", 5))
    assert held(store).owners == (ARGO, HPA)
    store.joined.owners(WEB, ())
    assert held(store).owners == (ARGO,)


def test_what_is_known_of_a_deployment_that_is_not_there_is_shown_once_it_is() -> None:
    store = Store()
    parked = Parked("u1", 3, 100, "alice", "", "b")
    store.joined.parked(WEB, parked)
    store.joined.owners(WEB, (HPA,))
    store.put(web(1, 0))
    assert (held(store).parked, held(store).owners) == (parked, (HPA,))
    store.joined.parked(WEB, None)
    assert held(store).parked is None


def test_who_wrote_to_a_deployment_that_is_gone_is_not_kept(store: Store) -> None:
    """The write's answer came after the deletion: nothing would ever say again that it is gone."""
    written = written_over(held(store), "2", 5)
    store.remove("shop", "web")
    store.joined.asked(written, "alice", "sale")
    store.put(evolve(written, last_change=None))
    assert shown(store) == ("", "")
