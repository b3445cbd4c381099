"""The published Deployments: found by name in any namespace, listed in order, told once per change."""

from __future__ import annotations

from kdm_adapters.cache.store import Store
from kdm_core.model import ChangeKind
from unit.adapters.kubernetes.objects import deployment

A, B, C = (deployment("web", 1, namespace=namespace) for namespace in "abc")


def filled() -> Store:
    store = Store()
    for each in (B, A, C):
        store.put(each)
    return store


def test_a_name_is_found_in_every_namespace_in_order_while_they_come_and_go() -> None:
    store = filled()
    assert store.find("web") == (A, B, C)
    store.remove("b", "web")
    assert store.find("web") == (A, C)
    store.remove("a", "web")
    assert store.find("web") == (C,)
    store.put(A)
    assert store.find("web") == (A, C)
    store.remove("a", "web")
    store.remove("c", "web")
    assert store.find("web") == ()
    assert len(store) == 0


def test_replacing_one_namespace_leaves_the_others() -> None:
    store = filled()
    new = deployment("api", 5, namespace="b")
    store.replace("b", {"b": {"api": new}})
    assert store.list() == (A, new, C)
    store.replace(None, {"c": {"web": C}})
    assert store.list() == (C,)


def test_replacing_tells_only_the_differences() -> None:
    store, told = filled(), []
    store.on_change = lambda kind, each: told.append((kind, str(each.ref)))
    changed, new = deployment("web", 9, namespace="b"), deployment("new", 9, namespace="a")
    store.replace(None, {"a": {"web": A, "new": new}, "b": {"web": changed}})
    assert told == [(ChangeKind.DELETED, "c/web"), (ChangeKind.ADDED, "a/new"), (ChangeKind.MODIFIED, "b/web")]


def test_asking_for_namespaces_that_do_not_exist_fills_no_memory() -> None:
    store = filled()
    for i in range(1000):
        assert store.list(f"nowhere-{i}") == ()
    assert not store._sorted


def test_the_last_state_of_a_deletion_is_told() -> None:
    store, told = filled(), []
    store.on_change = lambda _, each: told.append(each)
    last = deployment("web", 7, namespace="a", desired=0)
    store.remove("a", "web", as_last_seen=last)
    store.remove("b", "web", as_last_seen=deployment("web", 7, namespace="b", uid="another"))
    assert told == [last, B]
