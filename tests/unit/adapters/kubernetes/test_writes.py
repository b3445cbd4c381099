"""Writing through scale: what is sent, what is seen afterwards, and what each refusal becomes."""

from __future__ import annotations

import asyncio
import json

import pytest

from kdm_adapters.kubernetes import KubernetesDeploymentRepository
from kdm_core.errors import (
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    InvalidName,
    InvalidReplicas,
    KdmError,
    NamespaceNotWatched,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.model import DeploymentRef
from kdm_core.scaling import Expect, ScaleBy
from kdm_core.service import DeploymentService
from unit.adapters.kubernetes.api_server import (
    DEADLINE_S,
    Answer,
    ApiServer,
    Reply,
    answering,
    breaking,
    hanging,
    refusing,
    scale_body,
)
from unit.adapters.kubernetes.conftest import MakeRepository, until, until_held

WEB = DeploymentRef("shop", "web")
RBAC = 'deployments.apps "web" is forbidden: User "u" cannot patch resource "deployments/scale" in API group "apps"'
ABOUT_WEB = {"name": "web", "group": "apps", "kind": "deployments"}
WEBHOOK_FAILED = 'Internal error occurred: failed calling webhook "a.b": failed to call webhook: no route to host'


async def synced(repository: KubernetesDeploymentRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"))
    await repository.wait_synced(DEADLINE_S)
    await server.watch()
    await until_held(repository, web=1)


async def test_one_merge_patch_of_the_scale_is_sent(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await synced(repository, server)
        written = await repository.set_replicas(WEB, 0)
        assert written.replicas.desired == 0
        sent = server.requests[-1]
        assert sent.method == "PATCH"
        assert sent.path == "/apis/apps/v1/namespaces/shop/deployments/web/scale"
        assert sent.headers["content-type"] == "application/merge-patch+json"
        assert sent.headers["authorization"] == "Bearer let-me-in"
        assert json.loads(sent.body) == {"spec": {"replicas": 0}}


async def test_a_write_that_the_watch_shows_before_its_answer_comes_is_what_is_read(
    make: MakeRepository, server: ApiServer
) -> None:
    """With what somebody else changed just before, which the answer does not say."""

    async def late(reply: Reply) -> None:
        server.cluster.relabel("web", tier="gold")
        stored = server.cluster.scale("web", 4)
        await server.notify()
        await until_held(repository, web=4)
        assert stored is not None
        await reply.whole(200, scale_body(stored))

    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(late)
        written = await repository.set_replicas(WEB, 4)
        assert written == repository.get(WEB)
        assert written.labels == {"tier": "gold"}


async def test_a_read_right_after_shows_the_write_though_the_watch_is_behind(
    make: MakeRepository, server: ApiServer
) -> None:
    async with make() as repository:
        await synced(repository, server)
        watch = await server.watch()
        watch.cursor += 1000  # this watch will tell nothing more
        written = await repository.set_replicas(WEB, 4)
        assert repository.get(WEB) == written
        assert repository.list() == (written,)
        assert written.replicas.desired == 4
        assert written.generation > written.observed_generation
        watch.cursor -= 1000
        await server.notify()
        await until(lambda: repository.get(WEB) == server.cluster.state["web"])


async def test_setting_the_same_count_changes_nothing(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await synced(repository, server)
        before = repository.get(WEB)
        assert await repository.set_replicas(WEB, 1) == before


async def test_a_precondition_is_sent_and_its_failure_is_a_conflict(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await synced(repository, server)
        at = repository.get(WEB).resource_version
        await repository.set_replicas(WEB, 5, expect=Expect(resource_version=at))
        assert json.loads(server.requests[-1].body)["metadata"] == {"resourceVersion": at}
        with pytest.raises(WriteConflict, match="shop/web"):
            await repository.set_replicas(WEB, 6, expect=Expect(resource_version=at))
        assert server.cluster.state["web"].replicas.desired == 5


@pytest.mark.parametrize("version", ["", "0", "abc", "-1", "1.5"])
async def test_a_version_that_never_was_is_a_conflict_and_is_not_sent(
    make: MakeRepository, server: ApiServer, version: str
) -> None:
    """To the API server "" and "0" would mean no precondition."""
    async with make() as repository:
        await synced(repository, server)
        with pytest.raises(WriteConflict):
            await repository.set_replicas(WEB, 5, expect=Expect(resource_version=version))
        assert server.count("patch") == 0


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (refusing(403, "Forbidden", RBAC), WriteForbidden, "lacks the RBAC permission 'patch' on"),
        (refusing(403, "Forbidden", 'admission webhook "a.b" denied the request: no'), WriteInvalid, "denied the"),
        (refusing(404, "NotFound", "not found", **ABOUT_WEB), DeploymentNotFound, "'shop/web' not found"),
        (refusing(409, "Conflict", "the object has been modified"), WriteConflict, "has been modified"),
        (refusing(400, "BadRequest", "malformed"), WriteInvalid, "malformed"),
        (refusing(422, "Invalid", "spec.replicas: too many"), WriteInvalid, "too many"),
        (refusing(429, "TooManyRequests", "slow down"), ClusterOverloaded, "slow down"),
        (refusing(401, "Unauthorized"), ClusterUnreachable, "does not accept kdm's credentials"),
        (refusing(500, "InternalError", WEBHOOK_FAILED), ClusterUnreachable, "failed calling webhook"),
        (refusing(500, "InternalError", "etcdserver: request timed out"), ClusterTimeout, "may have been written"),
        (refusing(503, "ServiceUnavailable", "not ready"), ClusterUnreachable, "not ready"),
        (refusing(504, "Timeout", "it took too long"), ClusterTimeout, "may have been written"),
        (answering(502, b"<html>Bad Gateway</html>"), ClusterTimeout, "Bad Gateway"),
        (answering(200, b"<html>Welcome</html>"), ClusterUnrecognized, "Welcome"),
        (answering(200, b'{"kind":"Status"}'), ClusterUnrecognized, "may have been written"),
        (breaking, ClusterTimeout, "may have been written"),
        (hanging, ClusterTimeout, "did not answer within 0.2 s"),
    ],
)
async def test_each_refusal_becomes_one_error(
    make: MakeRepository, server: ApiServer, fault: Answer, error: type[KdmError], message: str
) -> None:
    """It is told in words a person can act on, and the write is not tried again."""
    async with make(write_timeout_s=0.2 if fault is hanging else DEADLINE_S) as repository:
        await synced(repository, server)
        server.faults["patch"].append(fault)
        with pytest.raises(error, match=message):
            await repository.set_replicas(WEB, 3)
        assert server.count("patch") == 1
        assert repository.get(WEB).replicas.desired == 1


async def test_a_forbidden_write_names_verb_resource_and_namespace(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(refusing(403, "Forbidden", RBAC + ' in the namespace "shop"'))
        with pytest.raises(WriteForbidden) as caught:
            await repository.set_replicas(WEB, 3)
        assert str(caught.value) == (
            "kdm's identity 'u' lacks the RBAC permission 'patch' on 'deployments/scale' in namespace 'shop'"
        )


async def test_retry_after_is_handed_on(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(answering(429, b"{}", Retry_After="17"))
        with pytest.raises(ClusterOverloaded) as caught:
            await repository.set_replicas(WEB, 3)
        assert caught.value.retry_after_s == 17


async def test_nothing_was_written_where_nobody_listens(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await synced(repository, server)
        await server.stop()
        with pytest.raises(ClusterUnreachable, match="cannot be reached"):
            await repository.set_replicas(WEB, 3)


async def test_a_deployment_the_cache_does_not_have_yet_can_be_scaled(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        watch = await server.watch()
        watch.cursor += 1000
        server.cluster.create("new", team="a")
        written = await repository.set_replicas(DeploymentRef("shop", "new"), 3)
        assert written == repository.get(DeploymentRef("shop", "new"))
        assert written.labels == {"team": "a"}


async def test_what_does_not_exist_is_not_found(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await synced(repository, server)
        with pytest.raises(DeploymentNotFound):
            await repository.set_replicas(DeploymentRef("shop", "nope"), 3)
        assert server.count("patch") == 0


async def test_what_the_selector_does_not_select_cannot_be_scaled(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("api", team="b"))
    async with make(label_selector="team=a") as repository:
        await repository.wait_synced(DEADLINE_S)
        with pytest.raises(DeploymentNotFound):
            await repository.set_replicas(DeploymentRef("shop", "api"), 3)
        assert server.count("patch") == 0


async def test_outside_the_watched_namespaces_nothing_is_sent(make: MakeRepository, server: ApiServer) -> None:
    async with make(namespaces=["shop"]) as repository:
        await synced(repository, server)
        sent = len(server.requests)
        with pytest.raises(NamespaceNotWatched, match="managed are: shop"):
            await repository.set_replicas(DeploymentRef("blog", "web"), 3)
        assert len(server.requests) == sent


@pytest.mark.parametrize(
    ("ref", "replicas", "error"),
    [
        (WEB, -1, InvalidReplicas),
        (WEB, 2**31, InvalidReplicas),
        (WEB, True, InvalidReplicas),
        (DeploymentRef("shop", "web/../../secrets"), 1, InvalidName),
        (DeploymentRef("shop/x", "web"), 1, InvalidName),
    ],
)
async def test_values_that_can_never_be_right_are_not_sent(
    make: MakeRepository, server: ApiServer, ref: DeploymentRef, replicas: int, error: type[KdmError]
) -> None:
    async with make() as repository:
        await synced(repository, server)
        sent = len(server.requests)
        with pytest.raises(error):
            await repository.set_replicas(ref, replicas)
        assert len(server.requests) == sent


async def test_a_deployment_created_anew_during_the_write_is_the_one_shown(
    make: MakeRepository, server: ApiServer
) -> None:
    async def after_recreation(reply: Reply) -> None:
        for watch in server.watches:
            watch.cursor += 1000
        server.cluster.delete("web")
        server.cluster.create("web")
        stored = server.cluster.scale("web", 6)
        assert stored is not None
        await reply.whole(200, scale_body(stored))

    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(after_recreation)
        written = await repository.set_replicas(WEB, 6)
        assert written.uid == server.cluster.state["web"].uid
        assert repository.get(WEB).replicas.desired == 6


async def test_writes_at_once_all_arrive(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await synced(repository, server)
        await asyncio.gather(*(repository.set_replicas(WEB, n) for n in range(20)))
        await until(lambda: repository.get(WEB) == server.cluster.state["web"])
        assert server.count("patch") == 20


async def test_what_is_expected_is_tested_by_a_json_patch(make: MakeRepository, server: ApiServer) -> None:
    """A Scale of zero has no replicas: only a test for null holds there."""
    async with make() as repository:
        await synced(repository, server)
        uid = repository.get(WEB).uid
        await repository.set_replicas(WEB, 0, expect=Expect(replicas=1, uid=uid))
        sent = server.requests[-1]
        assert (sent.method, sent.headers["content-type"]) == ("PATCH", "application/json-patch+json")
        assert json.loads(sent.body) == [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/spec/replicas", "value": 1},
            {"op": "add", "path": "/spec/replicas", "value": 0},
        ]
        await repository.set_replicas(WEB, 2, expect=Expect(replicas=0))
        assert json.loads(server.requests[-1].body)[0] == {"op": "test", "path": "/spec/replicas", "value": None}


async def test_a_write_says_who_manages_the_count_and_whether_it_is_a_trial(
    make: MakeRepository, server: ApiServer
) -> None:
    async with make() as repository:
        await synced(repository, server)
        await repository.set_replicas(WEB, 2)
        await repository.set_replicas(WEB, 3, dry_run=True)
        assert server.queries("patch") == [{"fieldManager": "kdm"}, {"fieldManager": "kdm", "dryRun": "All"}]
        assert repository.get(WEB).replicas.desired == server.cluster.state["web"].replicas.desired == 2


async def test_a_count_that_is_as_expected_and_refused_is_really_invalid(
    make: MakeRepository, server: ApiServer
) -> None:
    """A test that fails and an admission webhook answer alike: the Deployment shows which of them it was."""
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(refusing(422, "Invalid", "spec.replicas: too many"))
        with pytest.raises(WriteInvalid, match="too many"):
            await repository.set_replicas(WEB, 3, expect=Expect(replicas=1))
        with pytest.raises(WriteConflict, match="1 replicas, not 2") as raised:
            await repository.set_replicas(WEB, 3, expect=Expect(replicas=2))
        assert raised.value.current == server.cluster.state["web"]


async def test_a_count_that_came_back_after_the_write_was_refused_is_a_conflict_and_tried_again(
    make: MakeRepository, server: ApiServer
) -> None:
    """Two programs step up and down: the test fails, and the look-up that follows finds what was expected."""
    failed = refusing(422, "Invalid", "the server rejected our request due to an error in our request")
    async with make() as repository:
        await synced(repository, server)
        server.faults["patch"].append(failed)
        with pytest.raises(WriteConflict, match="for a moment") as raised:
            await repository.set_replicas(WEB, 3, expect=Expect(replicas=1))
        assert raised.value.current == server.cluster.state["web"]
        server.faults["patch"].append(failed)
        scaled = await DeploymentService(repository).set_replicas(WEB, ScaleBy(1))
        assert (scaled.previous, scaled.replicas) == (1, 2)
