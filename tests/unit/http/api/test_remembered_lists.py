"""Who polls what, and what that costs the others: nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, Final

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentRef, DeploymentService, Identity
from kdm_core.policy import parse_policy
from kdm_http.api.dispatch import Dispatcher
from kdm_http.api.fast_path import FastPath
from kdm_http.api.remembered_lists import REMEMBERED_LISTS
from kdm_http.api.routes import ROUTES
from kdm_http.server.application import Ready

POLICY: Final = """
version = 1
[[grant]]
users = ["admin", "operator"]
verbs = ["read"]
namespaces = ["*"]
""" + "".join(
    f"""
[[grant]]
users = ["part-{number}", "peer-{number}"]
verbs = ["read"]
namespaces = ["n{number}", "n{number + 1}"]
"""
    for number in range(40)
)


class Polled:
    """The API's fast path, and how often it had to encode a list."""

    def __init__(self, service: DeploymentService) -> None:
        self.service = service
        self.encoded = 0
        dispatcher = Dispatcher(service)
        self.lists = dispatcher._lists
        self._fast_path = FastPath(ROUTES, dispatcher, [], [])
        encode = self.lists._encode

        def count(what: Any) -> bytes:
            self.encoded += 1
            return encode(what)

        self.lists._encode = count

    def poll(self, user: str, path: bytes = b"/deployments", tag: bytes = b"") -> Ready:
        fields = [(b"if-none-match", tag)] if tag else []
        peer: Any = SimpleNamespace(identity=Identity(user))
        ready = self._fast_path(b"GET", path, fields, peer)
        assert ready is not None
        return ready

    def tag(self, user: str, path: bytes = b"/deployments") -> bytes:
        head = self.poll(user, path).head
        return head.partition(b"etag: ")[2].partition(b"\r\n")[0]


@pytest.fixture
async def polled() -> AsyncIterator[Polled]:
    async with MemoryDeploymentRepository() as repository:
        for number in range(41):
            repository.cluster.create(DeploymentRef(f"n{number}", "web"), number)
        yield Polled(DeploymentService(repository, policy=parse_policy(POLICY)))


def test_restricted_and_unrestricted_callers_do_not_take_each_other_s_list(polled: Polled) -> None:
    """They poll in turns, in both dialects: each list is encoded once, and each caller has its own tag."""
    callers = [(user, path) for user in ("admin", "part-0") for path in (b"/deployments", b"/api/v1/deployments")]
    tags = {caller: polled.tag(*caller) for caller in callers}
    assert (len(set(tags.values())), polled.encoded) == (4, 4)
    for _ in range(5):
        for caller in callers:
            assert polled.poll(*caller, tags[caller]).status == 304
            assert polled.poll(*caller).status == 200
    assert polled.encoded == 4


def test_who_sees_the_same_shares_a_list(polled: Polled) -> None:
    """It is remembered by what it shows, not by who asked, nor by why he may see it."""
    assert polled.tag("admin") == polled.tag("operator")
    assert polled.tag("part-0") == polled.tag("peer-0")
    assert polled.encoded == 2


def test_any_number_of_restricted_callers_costs_the_others_nothing_and_memory_is_bounded(polled: Polled) -> None:
    tag = polled.tag("admin")
    for number in range(40):
        assert polled.poll(f"part-{number}").status == 200
        assert polled.poll("admin", tag=tag).status == 304
    assert polled.encoded == 41
    lists = polled.lists
    assert (len(lists._whole), len(lists._parts)) == (1, REMEMBERED_LISTS)


def test_namespaces_that_do_not_exist_cost_the_others_nothing(polled: Polled) -> None:
    polled.poll("admin")
    for number in range(40):
        assert polled.poll("admin", b"/deployments?namespace=nowhere-%d" % number).body == b"[]"
    encoded = polled.encoded
    polled.poll("admin")
    assert polled.encoded == encoded


async def test_a_change_is_seen_by_everybody_who_may_see_it(polled: Polled) -> None:
    """And by nobody else: whose part has not changed keeps its tag."""
    repository: Any = polled.service._repository
    whole, part, other = (polled.tag(user) for user in ("admin", "part-0", "part-10"))
    await repository.set_replicas(DeploymentRef("n0", "web"), 7)
    assert polled.poll("admin", tag=whole).status == 200
    assert polled.poll("part-0", tag=part).status == 200
    assert b'"replicaCount":7' in polled.poll("part-0").body
    assert polled.poll("part-10", tag=other).status == 304


def test_a_policy_that_changes_changes_what_is_shown_at_once(polled: Polled) -> None:
    everything = polled.poll("admin").body
    polled.service.policy = parse_policy(POLICY.replace('"admin", ', "").replace('"part-0"', '"part-0", "admin"'))
    assert polled.poll("admin").body == polled.poll("part-0").body != everything
    polled.service.policy = parse_policy(POLICY)
    assert polled.poll("admin").body == everything
