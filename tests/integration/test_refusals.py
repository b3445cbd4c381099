"""What a real API server's refusals become: admission's words, the authorizer's, and a gateway's in front of it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import pytest

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes.api.errors import write_error
from kdm_adapters.kubernetes.wire.readers import JSON, PROTOBUF, failure
from kdm_adapters.memory.parking import MemoryParkingLot
from kdm_core import (
    CacheNotSynced,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentNotFound,
    DeploymentRef,
    DeploymentService,
    KdmError,
    SetTo,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)

from .admission import mutation, policy, webhook
from .api_gateway import ApiGateway, administrator, page
from .controlplane.access import Cluster, KubectlFailed
from .controlplane.cluster import ControlPlane
from .kdm_process import KdmProcess, client_context, wait_until
from .workloads import create_deployments, deployment

SYNC_S = 30.0


@pytest.fixture
def shop(control_plane: ControlPlane) -> Iterator[str]:
    """A namespace with a Deployment ``web`` of one replica."""
    with control_plane.fresh_namespace() as namespace:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("web", 1)])
        yield namespace


@asynccontextmanager
async def repository_as(kubeconfig: Path, namespace: str) -> AsyncIterator[KubernetesDeploymentRepository]:
    """Enter a repository of one namespace and wait until it is synced."""
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=kubeconfig), namespaces=[namespace]) as found:
        await found.wait_synced(SYNC_S)
        yield found


def put_quota_in_force(cluster: Cluster, namespace: str) -> None:
    """Allow no second Deployment in a namespace. No controller counts here: the count is set by hand."""
    limits = {"count/deployments.apps": "1"}
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few", "namespace": namespace},
        "spec": {"hard": limits},
    }
    cluster.kubectl("apply", "-f", "-", input=json.dumps(quota))
    counted = json.dumps({"status": {"hard": limits, "used": limits}})
    status = ("--subresource=status", "--type=merge", f"--patch={counted}")
    cluster.kubectl("patch", "resourcequota", "few", f"--namespace={namespace}", *status)

    def in_force() -> bool:
        try:
            second = json.dumps(deployment("second", 1))
            cluster.kubectl("create", f"--namespace={namespace}", "--dry-run=server", "-f", "-", input=second)
        except KubectlFailed as error:
            return "exceeded quota" in str(error)
        return False

    wait_until(in_force)


async def refused(repository: KubernetesDeploymentRepository, ref: DeploymentRef, replicas: int) -> KdmError:
    """Return how a write is refused; nothing may be written by it."""
    with pytest.raises(KdmError) as caught:
        await repository.set_replicas(ref, replicas)
    assert repository.get(ref).replicas.desired == 1
    return caught.value


async def test_an_admission_policys_words_reach_the_caller(control_plane: ControlPlane, shop: str) -> None:
    """Whatever code its author chose, and though it says "cannot" and "resource" or speaks as the authorizer does."""
    spoken = {
        101: ("Forbidden", "this resource cannot be scaled on Fridays"),
        103: ("RequestEntityTooLarge", "that many cannot be had of this resource"),
        104: ("Invalid", "cannot resource"),
        105: ("Forbidden", 'User "eve" cannot patch resource "deployments/scale" in API group "apps"'),
    }
    validations = [
        {"expression": f"object.spec.replicas != {count}", "reason": reason, "message": message}
        for count, (reason, message) in spoken.items()
    ]
    ref = DeploymentRef(shop, "web")
    with policy(control_plane, shop, "web", validations) as name:
        async with repository_as(control_plane.kubeconfig, shop) as repository:
            for count, (_, message) in spoken.items():
                error = await refused(repository, ref, count)
                assert type(error) is WriteInvalid
                assert str(error) == (
                    f"the cluster refuses to scale Deployment '{ref}': deployments.apps \"web\" is forbidden: "
                    f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: {message}"
                )
            assert (await repository.set_replicas(ref, 2)).replicas.desired == 2


async def test_an_admission_webhooks_words_reach_the_caller_whatever_the_code(
    control_plane: ControlPlane, shop: str
) -> None:
    ref = DeploymentRef(shop, "web")
    async with (
        webhook(control_plane, shop, "web") as hook,
        repository_as(control_plane.kubeconfig, shop) as repository,
    ):
        for code in (400, 401, 403, 404, 409, 410, 422, 429, 500, 503, 504):
            hook.denies(code=code, message=f"no more\nthan 20 of a resource ({code})")
            error = await refused(repository, ref, 3)
            assert type(error) is WriteInvalid, (code, error)
            assert str(error).endswith(
                f'admission webhook "{hook.name}" denied the request: no more than 20 of a resource ({code})'
            )
        hook.denies(code=404, reason="NotFound")
        assert str(await refused(repository, ref, 3)).endswith("denied the request: NotFound")
        hook.denies()
        assert str(await refused(repository, ref, 3)).endswith("denied the request without explanation")
        hook.answers = dict
        assert (await repository.set_replicas(ref, 3)).replicas.desired == 3, "the credentials are as good as before"


async def test_a_webhook_that_fails_is_no_refusal_and_nothing_is_written(
    control_plane: ControlPlane, shop: str
) -> None:
    ref = DeploymentRef(shop, "web")
    async with (
        webhook(control_plane, shop, "web") as hook,
        repository_as(control_plane.kubeconfig, shop) as repository,
    ):
        for code, words in (
            (500, "an error on the server"),
            (404, "could not find the requested resource"),
            (200, "failed to call webhook"),
            (None, "context deadline exceeded"),
        ):
            if code is None:
                hook.hangs()
            else:
                hook.fails(code, "oh no")
            error = await refused(repository, ref, 3)
            assert type(error) is ClusterUnreachable, error
            assert error.of_one, "another Deployment may have no such webhook"
            assert f'failed calling webhook "{hook.name}"' in str(error)
            assert words in str(error)
        hook.answers = dict
        stored = control_plane.kubectl("get", "deployment", "web", "-n", shop, "-o", "jsonpath={.spec.replicas}")
        assert stored == "1"


async def test_admission_that_stores_another_count_loses_none_that_is_parked(
    control_plane: ControlPlane, shop: str
) -> None:
    ref = DeploymentRef(shop, "web")
    async with repository_as(control_plane.kubeconfig, shop) as repository, MemoryParkingLot() as lot:
        service = DeploymentService(repository, parking=lot)
        await service.set_replicas(ref, SetTo(3))
        with mutation(control_plane, shop, "web", 1):
            parked = await service.park(ref)
            assert (parked.replicas, parked.warnings) == (1, ("the cluster stored 1 replicas, where 0 were asked for",))
        assert (await service.restore(ref)).replicas == 3

        await service.park(ref)
        undone = pytest.raises(WriteInvalid, match=r"kept .* at 0 replicas, where 3 were asked for")
        with mutation(control_plane, shop, "web", 0), undone:
            await service.restore(ref)
        assert (await service.restore(ref)).replicas == 3


async def test_the_authorizers_refusal_names_the_user_and_its_reason(control_plane: ControlPlane, shop: str) -> None:
    """A role binding whose role does not exist is what the reason finds."""
    ref, user = DeploymentRef(shop, "web"), f"kdm-{shop}"
    kubeconfig = control_plane.kubeconfig_for(user)
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list", "watch"]}
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader", "namespace": shop},
        "rules": [rule],
    }
    control_plane.kubectl("apply", "-f", "-", input=json.dumps(role))
    control_plane.kubectl("create", "rolebinding", "reader", f"--namespace={shop}", "--role=reader", f"--user={user}")
    lacking = f"kdm's identity '{user}' lacks the RBAC permission 'patch' on 'deployments/scale' in namespace '{shop}'"
    async with repository_as(kubeconfig, shop) as repository:
        error = await refused(repository, ref, 3)
        assert (type(error), str(error)) == (WriteForbidden, lacking)
        control_plane.kubectl("create", "rolebinding", "lost", f"--namespace={shop}", "--role=lost", f"--user={user}")
        async with asyncio.timeout(SYNC_S):
            while "lost" not in str(error):
                error = await refused(repository, ref, 3)
        assert (type(error), str(error)) == (
            WriteForbidden,
            f'{lacking}: RBAC: role.rbac.authorization.k8s.io "lost" not found',
        )
        await repository.probe()  # /readyz may be asked by everybody, or not: either is an answer


async def test_a_dying_namespace_lets_what_is_in_it_be_scaled(control_plane: ControlPlane) -> None:
    """The API server refuses only what is new there."""
    namespace = "kdm-test-dying"
    control_plane.kubectl("create", "namespace", namespace)
    body = deployment("web", 1)
    body["metadata"]["finalizers"] = ["kdm.test/stay"]
    create_deployments(control_plane.kubeconfig, namespace, [body])
    control_plane.kubectl("delete", "deployment", "web", "-n", namespace, "--wait=false")
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")
    try:
        async with repository_as(control_plane.kubeconfig, namespace) as repository:
            ref = DeploymentRef(namespace, "web")
            assert (await repository.set_replicas(ref, 2)).replicas.desired == 2
    finally:
        patch = '{"metadata":{"finalizers":null}}'
        control_plane.kubectl("patch", "deployment", "web", "-n", namespace, "--type=merge", f"--patch={patch}")


@pytest.mark.parametrize("media_type", [JSON, PROTOBUF])
async def test_the_api_servers_own_statuses_are_read_as_what_they_are(
    control_plane: ControlPlane, shop: str, media_type: str
) -> None:
    """Each is provoked, read in both formats, and judged as if it were the answer to a write of this Deployment."""
    ref = DeploymentRef(shop, "web")
    put_quota_in_force(control_plane, shop)
    path = f"/apis/apps/v1/namespaces/{shop}/deployments"
    merge = "application/merge-patch+json"
    huge = json.dumps({"metadata": {"annotations": {"x": "x" * 4_000_000}}})
    stale = json.dumps({"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 2}})
    async with administrator(control_plane.kubeconfig.read_text()) as api:

        async def provoke(
            method: str, path: str, body: str | None = None, content_type: str = JSON, **headers: str
        ) -> tuple[type[KdmError], str, int, bool]:
            fields = {"Accept": media_type, "Content-Type": content_type, **headers}
            async with api.request(method, path, data=body and io.BytesIO(body.encode()), headers=fields) as answer:
                read = failure(await answer.read(), answer.status)
            assert read.code == answer.status >= 400
            error = write_error(read, ref)
            return type(error), str(error), read.code, read.foreign

        error, text, code, _ = await provoke("POST", path, json.dumps(deployment("second", 1)))
        assert (error, code) == (WriteInvalid, 403)
        assert "exceeded quota: few, requested: count/deployments.apps=1, used: count/deployments.apps=1" in text

        error, text, code, _ = await provoke("PATCH", f"{path}/web/scale", stale, merge)
        assert (error, code) == (WriteConflict, 409)
        assert "the object has been modified" in text

        error, text, code, _ = await provoke("PATCH", f"{path}/web/scale", '{"spec":{"replicas":-1}}', merge)
        assert (error, code) == (WriteInvalid, 422)
        assert "spec.replicas: Invalid value: -1" in text

        fields = {"Accept": media_type, "Content-Type": merge}
        async with api.patch(f"{path}/missing/scale", data="{}", headers=fields) as answer:
            read = failure(await answer.read(), answer.status)
            assert type(write_error(read, DeploymentRef(shop, "missing"))) is DeploymentNotFound
        error, text, code, _ = await provoke("PATCH", f"{path}/missing/scale", "{}", merge)
        assert (error, code) == (WriteInvalid, 404), "it is about another Deployment"

        error, text, code, _ = await provoke("GET", "/api/v1/namespaces/kdm-missing")
        assert (error, code) == (WriteInvalid, 404)
        assert 'namespaces "kdm-missing" not found' in text

        for version in ("apps/v9", "example.org/v1"):
            error, text, code, _ = await provoke("GET", f"/apis/{version}/namespaces/{shop}/deployments")
            assert (error, code) == (ClusterUnrecognized, 404), "the API is not there"
            assert "not find the requested resource" in text or "404 page not found" in text

        error, text, code, foreign = await provoke("GET", "/no-such-path")
        assert (error, code, foreign) == (ClusterUnrecognized, 404, True)
        assert "is not the Kubernetes API's (404): 404 page not found" in text

        error, text, code, _ = await provoke("POST", f"{path}/web/scale", "{}")
        assert (error, code) == (ClusterUnrecognized, 405)

        error, text, code, _ = await provoke("GET", path, Accept="image/png")
        assert (error, code) == (ClusterUnrecognized, 406)
        assert "application/vnd.kubernetes.protobuf" in text, "what it has is told"

        error, text, code, _ = await provoke("PATCH", f"{path}/web/scale", "{}", "image/png")
        assert (error, code) == (ClusterUnrecognized, 415)

        error, text, code, _ = await provoke("PATCH", f"{path}/web/scale", "{", merge)
        assert (error, code) == (WriteInvalid, 400)

        error, text, code, _ = await provoke("PATCH", f"{path}/web/scale", huge, merge)
        assert (error, code) == (WriteInvalid, 413)
        assert "Request entity too large" in text

    context = {"Accept": media_type, "Authorization": "Bearer nobody-knows"}
    server = f"https://127.0.0.1:{control_plane.port}"
    async with aiohttp.ClientSession(server) as nobody, nobody.get(path, ssl=False, headers=context) as answer:
        read = failure(await answer.read(), answer.status)
        assert (read.code, read.message) == (401, "Unauthorized")
        assert type(write_error(read, ref)) is ClusterUnreachable


GATEWAYS: list[tuple[int, dict[str, str]]] = [
    (200, {}),
    (302, {"Location": "https://sso.example/login?state=abc"}),
    (403, {}),
    (404, {}),
    (499, {}),
]


async def test_a_gateway_that_answers_in_the_clusters_place_is_a_bad_gateway_to_callers(
    control_plane: ControlPlane, shop: str, tmp_path: Path
) -> None:
    """In both dialects: 502 with what it said. Reads go on from the cache; health says why it is not well."""
    async with administrator(control_plane.kubeconfig.read_text()) as api, ApiGateway(api).serving() as gateway:
        settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(gateway.kubeconfig(tmp_path)), "NAMESPACES": shop}
        with KdmProcess(settings, tmp_path / "log") as kdm:
            await asyncio.to_thread(kdm.wait_ready)
            async with httpx.AsyncClient(
                base_url=kdm.url, verify=client_context("dev-admin"), trust_env=False, timeout=30
            ) as client:

                async def asked() -> list[httpx.Response]:
                    return [
                        await client.post("/deployments/web/replicas", json={"replicaCount": 3}),
                        await client.put("/api/v1/deployments/web/replicas", json={"replicaCount": 3}),
                    ]

                for code, headers in GATEWAYS:
                    gateway.speaks = page(code, "Go away", **headers)
                    for answer in await asked():
                        assert answer.status_code == 502, answer.text
                        told = answer.json()["error"]
                        assert f"({code}): " in told
                        assert "may have been written" in told
                        assert ("https://sso.example/login" if code == 302 else "Go away") in told
                        assert not any(each in told for each in ("<", "state=abc"))
                    read = await client.get("/deployments/web/replicas")
                    assert read.json()["replicaCount"] == 1
                gateway.speaks = None
                for answer in await asked():
                    assert answer.status_code == 200, answer.text


async def test_a_gateway_that_answers_lists_in_the_clusters_place_is_told_until_it_stops(
    control_plane: ControlPlane, shop: str, tmp_path: Path
) -> None:
    async with administrator(control_plane.kubeconfig.read_text()) as api, ApiGateway(api).serving() as gateway:
        gateway.speaks_to_all = True
        gateway.speaks = page(403, "Go away")
        config = ClusterConfig(kubeconfig=gateway.kubeconfig(tmp_path))
        async with KubernetesDeploymentRepository(config, namespaces=[shop]) as repository:
            with pytest.raises(CacheNotSynced, match=r"is not the Kubernetes API's \(403\): 403 Go away"):
                await repository.wait_synced(2)
            with pytest.raises(ClusterUnrecognized, match="Go away"):
                await repository.probe()
            gateway.speaks = None
            await repository.wait_synced(SYNC_S)
            await repository.probe()
            assert (await repository.set_replicas(DeploymentRef(shop, "web"), 2)).replicas.desired == 2


async def test_an_admission_policys_words_are_a_422_in_both_dialects(
    control_plane: ControlPlane, shop: str, tmp_path: Path
) -> None:
    message = "this resource cannot be scaled on Fridays"
    settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(control_plane.kubeconfig), "NAMESPACES": shop}
    validation: dict[str, Any] = {"expression": "object.spec.replicas != 7", "reason": "Forbidden", "message": message}
    with policy(control_plane, shop, "web", [validation]), KdmProcess(settings, tmp_path / "log") as kdm:
        await asyncio.to_thread(kdm.wait_ready)
        with kdm.client() as client:
            for answer in (
                client.post("/deployments/web/replicas", json={"replicaCount": 7}),
                client.put("/api/v1/deployments/web/replicas", json={"replicaCount": 7}),
            ):
                assert answer.status_code == 422, answer.text
                assert answer.json()["error"].endswith(f"denied request: {message}")
