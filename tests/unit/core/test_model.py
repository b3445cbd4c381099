"""The domain's values."""

from __future__ import annotations

import copy
import pickle
import string

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st

from kdm_core import (
    LOCAL,
    MAX_REPLICAS,
    Deployment,
    DeploymentRef,
    InvalidInput,
    InvalidName,
    InvalidReplicas,
    ReplicaStatus,
    SyncStatus,
)
from kdm_core.names import check_name, check_namespace, check_replicas

ALPHANUMERIC = frozenset(string.ascii_lowercase + string.digits)

# Mostly names that are nearly right, or right: text at random is nearly always wrong at once.
nearly_names = st.one_of(
    st.text(alphabet="ab0-.", max_size=12),
    st.lists(st.text(alphabet="a0-", min_size=1, max_size=6), max_size=4).map(".".join),
    st.integers(1, 300).map(lambda length: "a" * length),
    st.text(max_size=8),
    st.sampled_from(["web\n", "WEB", "wéb", "web ", "\u0663", "\uff41", "a.b\x00", "\u017f", "\u212a"]),
)


def kubernetes_label(name: str) -> bool:
    """IsDNS1123Label without its length (k8s.io/apimachinery/pkg/util/validation), character by character."""
    return bool(name) and set(name) <= ALPHANUMERIC | {"-"} and name[0] != "-" and name[-1] != "-"


@given(nearly_names)
def test_a_deployment_may_be_called_what_kubernetes_lets_it_be_called(name: str) -> None:
    """A name is a DNS-1123 subdomain: 253 characters at most, and each part a label of any length."""
    if len(name) <= 253 and all(kubernetes_label(part) for part in name.split(".")):
        assert check_name(name) == name
    else:
        with pytest.raises(InvalidName, match=r"invalid name .* DNS-1123 subdomain"):
            check_name(name)


@given(nearly_names)
def test_a_namespace_may_be_called_what_kubernetes_lets_it_be_called(name: str) -> None:
    """A namespace's name is a DNS-1123 label: 63 characters at most, and no dots."""
    if len(name) <= 63 and kubernetes_label(name):
        assert check_namespace(name) == name
    else:
        with pytest.raises(InvalidName, match=r"invalid namespace .* DNS-1123 label"):
            check_namespace(name)


@pytest.mark.parametrize(
    ("check", "longest"), [(check_name, 253), (check_namespace, 63)], ids=["Deployment", "namespace"]
)
def test_names_end_where_kubernetes_ends_them(check: type[str], longest: int) -> None:
    assert check("a" * longest)
    with pytest.raises(InvalidName, match=str(longest)):
        check("a" * (longest + 1))


@given(st.integers(), st.integers(0, MAX_REPLICAS))
def test_counts_lie_between_zero_and_the_maximum(replicas: int, maximum: int) -> None:
    if 0 <= replicas <= maximum:
        assert check_replicas(replicas, maximum=maximum) == replicas
    else:
        with pytest.raises(InvalidReplicas, match=f"from 0 to {maximum}$"):
            check_replicas(replicas, maximum=maximum)


def test_the_largest_count_is_an_int32() -> None:
    assert check_replicas(2**31 - 1) == MAX_REPLICAS
    with pytest.raises(InvalidReplicas):
        check_replicas(2**31)


@pytest.mark.parametrize("replicas", [True, 3.0, "3", None, [], float("nan")])
def test_what_only_looks_like_a_count_is_none(replicas: object) -> None:
    with pytest.raises(InvalidReplicas):
        check_replicas(replicas)


def test_references_from_untrusted_strings_are_checked() -> None:
    assert DeploymentRef.parse("shop", "web") == DeploymentRef("shop", "web")
    with pytest.raises(InvalidName, match="namespace"):
        DeploymentRef.parse("shop.eu", "web")
    with pytest.raises(InvalidInput, match="name"):
        DeploymentRef.parse("shop", "../secrets")


def test_references_order_by_namespace_then_name() -> None:
    refs = [DeploymentRef(*each.split("/")) for each in ("b/a", "a/b", "a-b/a", "a/a")]
    assert [str(each) for each in sorted(refs)] == ["a/a", "a/b", "a-b/a", "b/a"]


def test_values_are_immutable_hashable_and_can_be_copied() -> None:
    deployment = Deployment(DeploymentRef("shop", "web"), "u", "1", 1, 1, ReplicaStatus(3))

    with pytest.raises(FrozenInstanceError):
        deployment.replicas.desired = 4  # type: ignore[misc] # that is the point
    with pytest.raises(TypeError):
        deployment.labels["tier"] = "edge"  # type: ignore[index] # that is the point
    assert len({deployment, copy.copy(deployment)}) == 1
    assert pickle.loads(pickle.dumps(deployment.ref)) == deployment.ref  # noqa: S301 - our own bytes
    assert pickle.loads(pickle.dumps(LOCAL)) == LOCAL  # noqa: S301 - our own bytes


@pytest.mark.parametrize("synced", [True, False])
@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("stale", [True, False])
def test_healthy_is_complete_connected_and_fresh(*, synced: bool, connected: bool, stale: bool) -> None:
    status = SyncStatus(synced=synced, connected=connected, resource_version="1", age_s=0, stale=stale)
    assert status.healthy == (synced and connected and not stale)
