"""Who changed what on a real API server: its own managedFields say who it was; real kubectl shows kdm's Events."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core import Caller, ChangeTracker, CountChange, DeploymentRef, DeploymentService, Identity, ScaleBy, SetTo

from .controlplane.access import Cluster
from .kdm_process import KdmProcess, wait_until
from .test_least_privilege import bind_documented_role
from .workloads import create_deployments, deployment

DEADLINE_S = 60.0
ALICE = Caller(Identity("alice"), "request-1")


@asynccontextmanager
async def remembering(cluster: Cluster, namespace: str) -> AsyncIterator[DeploymentService]:
    """A kdm that keeps history, as a library."""
    configuration = ClusterConfig(kubeconfig=cluster.kubeconfig)
    async with KubernetesDeploymentRepository(configuration, namespaces=[namespace]) as repository:
        service = DeploymentService(repository, tracker=ChangeTracker())
        async with service.remembering():
            await repository.wait_synced(DEADLINE_S)
            yield service


class Shell:
    """kubectl, and what the API server itself says of who set the count."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    async def __call__(self, *arguments: str, text: str = "") -> str:
        return await asyncio.to_thread(self._cluster.kubectl, *arguments, "-n", self._namespace, input=text or None)

    async def web(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(
            await self("get", "deployment", "web", "-o", "json", "--show-managed-fields")
        )
        return found

    async def manager(self) -> str:
        """Return who set the count last, as the newest of the managedFields that have it."""
        fields = (await self.web())["metadata"]["managedFields"]
        setters = [each for each in fields if "f:replicas" in each.get("fieldsV1", {}).get("f:spec", {})]
        newest: str = max(setters, key=lambda each: each.get("time", "9"))["manager"]  # a write to scale has none
        return newest


async def caught_up(service: DeploymentService, shell: Shell, web: DeploymentRef) -> tuple[CountChange, ...]:
    """Return the history once the watch has brought all that there is."""
    version = (await shell.web())["metadata"]["resourceVersion"]
    await service.wait_for_version(web, version, DEADLINE_S)
    return service.history(web).changes


async def test_each_way_of_changing_a_count_is_owed_to_the_manager_that_kubectl_shows(
    cluster: Cluster, namespace: str
) -> None:
    shell, web = Shell(cluster, namespace), DeploymentRef(namespace, "web")
    described = deployment("web", 1)
    await shell("apply", "-f", "-", text=json.dumps(described))
    truth: list[tuple[int, int, str, str]] = []
    async with remembering(cluster, namespace) as service, remembering(cluster, namespace) as another:
        count = service.get(web).replicas.desired

        async def note(after: int, actor: str = "") -> None:
            nonlocal count
            truth.append((count, after, await shell.manager(), actor))
            count = after

        await shell("scale", "deployment", "web", "--replicas=2")
        await note(2)
        await service.set_replicas(web, SetTo(4), caller=ALICE, reason="sale")
        await note(4, "alice")
        described["spec"]["replicas"] = 3
        await shell("apply", "-f", "-", text=json.dumps(described))
        await note(3)
        await shell("apply", "--server-side", "--force-conflicts", "-f", "-",
                    text=json.dumps({**described, "spec": {**described["spec"], "replicas": 5}}))  # fmt: skip
        await note(5)
        await shell("patch", "deployment", "web", "--type=json", "--field-manager=kubectl-edit",
                    "-p", '[{"op": "replace", "path": "/spec/replicas", "value": 6}]')  # fmt: skip
        await note(6)
        await another.set_replicas(web, SetTo(7), caller=Caller(Identity("bob")))
        await note(7)
        await caught_up(service, shell, web)  # a relative change asks the cluster; here it is to be the cache's own
        await service.set_replicas(web, ScaleBy(-5), caller=ALICE)
        await note(2, "alice")
        await shell("set", "image", "deployment/web", "*=registry.example/other:1")

        changes = await caught_up(service, shell, web)
        found = [(each.previous, each.desired, each.manager, each.actor) for each in reversed(changes)]
        assert found == truth
        assert not any(each.gap for each in changes)
        assert len({manager for _, _, manager, _ in truth}) >= 4
        last = service.get(web).last_change
        assert last is not None
        assert (last.manager, last.actor) == ("kdm", "alice")


async def test_racing_with_kubectl_and_another_kdm_every_own_write_is_there_once(
    cluster: Cluster, namespace: str
) -> None:
    shell, web = Shell(cluster, namespace), DeploymentRef(namespace, "web")
    await shell("apply", "-f", "-", text=json.dumps(deployment("web", 0)))
    async with remembering(cluster, namespace) as service, remembering(cluster, namespace) as another:
        annotated = asyncio.ensure_future(shell("annotate", "deployment", "web", "note=1"))
        scaled = await asyncio.gather(
            *(each.set_replicas(web, ScaleBy(1), caller=ALICE) for each in (service, another) for _ in range(4))
        )
        await annotated
        versions = [each.resource_version for each in scaled[:4]]
        changes = await caught_up(service, shell, web)
        assert [(each.previous, each.desired) for each in changes] == [(n - 1, n) for n in range(8, 0, -1)]
        assert sorted(each.resource_version for each in changes if each.actor) == sorted(versions)
        assert {each.manager for each in changes} == {"kdm"}


def announcing(
    cluster: Cluster, namespace: str, log: Path, *, events: bool = True, allowed: bool = False
) -> KdmProcess:
    """A kdm with the documented Role, as a process."""
    kubeconfig = cluster.service_account_kubeconfig(namespace, "kdm")
    bind_documented_role(cluster, namespace, events=allowed)
    return KdmProcess(
        {
            "REPOSITORY": "kubernetes",
            "KUBECONFIG": str(kubeconfig),
            "NAMESPACES": namespace,
            "EVENTS": str(events).lower(),
        },
        log,
    )


def metric(kdm: KdmProcess, series: str) -> float:
    return next(float(line.split()[-1]) for line in kdm.metrics().splitlines() if line.startswith(f"{series} "))


def test_kubectl_describe_shows_who_scaled_it_and_why(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 1)])
    with announcing(cluster, namespace, tmp_path / "log", allowed=True) as kdm, kdm.client() as client:
        kdm.wait_ready()
        url = f"/api/v2/namespaces/{namespace}/deployments/web"
        assert client.get("/api/v2").json()["features"]["history"] is True
        tried = client.put(f"{url}/replicas?dryRun=All", json={"replicas": 9})
        assert tried.status_code == 200, tried.text
        done = client.put(f"{url}/replicas", json={"replicas": 3, "reason": "sale"})
        assert done.status_code == 200, done.text
        wait_until(lambda: metric(kdm, "kdm_events_announced_total") == 1)
        note = "dev-admin scaled it from 1 to 3: sale"
        described = cluster.kubectl("describe", "deployment", "web", "-n", namespace)
        (line,) = [each for each in described.splitlines() if "ScaledByKdm" in each]
        assert note in line
        assert "Normal" in line
        assert note in cluster.kubectl("events", "--for", "deployment/web", "-n", namespace)
        (event,) = [
            each
            for each in json.loads(cluster.kubectl("get", "events.events.k8s.io", "-n", namespace, "-o", "json"))[
                "items"
            ]
            if each["reportingController"] == "kdm"
        ]
        assert event["regarding"]["uid"] == done.json()["uid"]
        assert (event["action"], event["type"]) == ("Scale", "Normal")
        (item,) = client.get(f"{url}/history").json()["items"]
        assert (item["previous"], item["desired"], item["actor"], item["reason"]) == (1, 3, "dev-admin", "sale")
    permissions = cluster.kubectl(
        "auth", "can-i", "--list", "--no-headers", f"--namespace={namespace}",
        f"--as=system:serviceaccount:{namespace}:kdm",
    )  # fmt: skip
    (rule,) = [line.split() for line in permissions.splitlines() if line.startswith("events")]
    assert (rule[0], rule[-1]) == ("events.events.k8s.io", "[create]")


@pytest.mark.parametrize("events", [True, False])
def test_without_the_right_or_the_setting_writes_go_on_and_nothing_is_announced(
    cluster: Cluster, namespace: str, tmp_path: Path, events: bool
) -> None:
    """On without the right: dropped and counted, once in the log. Off: not even tried."""
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 1)])
    with announcing(cluster, namespace, tmp_path / "log", events=events) as kdm, kdm.client() as client:
        kdm.wait_ready()
        for count in (2, 3):
            answer = client.put(f"/api/v2/namespaces/{namespace}/deployments/web/replicas", json={"replicas": count})
            assert answer.status_code == 200, answer.text
        refused = 'kdm_events_dropped_total{reason="refused"}'
        if events:
            wait_until(lambda: metric(kdm, refused) == 2)
        else:
            assert metric(kdm, refused) == 0
            assert 'kdm_api_requests_total{verb="create"' not in kdm.metrics()
    assert kdm.output().count("cannot be announced as Kubernetes Events") == int(events)
    assert "ScaledByKdm" not in cluster.kubectl("describe", "deployment", "web", "-n", namespace)
