"""Waiting for rollouts of a real cluster: its controllers' own words and counts, for each row of the decision table."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core import (
    DeploymentRef,
    DeploymentService,
    Expect,
    NotSeenYet,
    RolloutOutcome,
    RolloutState,
    ScaleBy,
    Scaled,
    SetTo,
    Target,
    WaitFor,
    rollout_of,
)

from .controlplane.access import Cluster
from .controlplane.cluster import ControlPlane
from .proxy import Proxy
from .workloads import create_deployments, deployment

DEADLINE_S = 60.0
STATUS = {"status": {"observedGeneration": 1, "replicas": 1}}


class Harness:
    """A service on the cluster, and kubectl beside it."""

    def __init__(self, service: DeploymentService, cluster: Cluster, namespace: str) -> None:
        self.service = service
        self.namespace = namespace
        self.web = DeploymentRef(namespace, "web")
        self._cluster = cluster

    async def kubectl(self, *arguments: str, text: str = "") -> str:
        return await asyncio.to_thread(self._cluster.kubectl, *arguments, "-n", self.namespace, input=text or None)

    async def create(self, replicas: int, **spec: Any) -> None:
        """Create the Deployment and wait until it is settled, unless its Pods never are."""
        never_ready = spec.pop("never_ready", False)
        described = deployment("web", replicas, never_ready=never_ready)
        described["spec"] |= spec
        await self.apply(described)
        if not never_ready:
            assert (await self.wait()).outcome is RolloutOutcome.DONE

    async def apply(self, described: dict[str, Any]) -> None:
        """Create or change something, and wait until the cache has seen it."""
        applied = json.loads(await self.kubectl("apply", "-f", "-", "-o", "json", text=json.dumps(described)))
        if applied["kind"] == "Deployment":
            await self.service.wait_for_version(self.web, applied["metadata"]["resourceVersion"], DEADLINE_S)

    async def wait(self, target: Scaled | Target | None = None, timeout_s: float = DEADLINE_S, **more: Any) -> Any:
        return await self.service.rollout(self.web, target=target, timeout_s=timeout_s, **more)

    async def started(self, target: Scaled | Target | None = None) -> asyncio.Task[Any]:
        task = asyncio.create_task(self.wait(target))
        await asyncio.sleep(0)
        return task

    async def pods(self) -> list[dict[str, Any]]:
        """Return the Pods that nobody is deleting."""
        listed = json.loads(await self.kubectl("get", "pods", "-o", "json"))["items"]
        return [each for each in listed if "deletionTimestamp" not in each["metadata"]]


@pytest.fixture
async def harness(cluster: Cluster, namespace: str) -> AsyncIterator[Harness]:
    configuration = ClusterConfig(kubeconfig=cluster.kubeconfig)
    async with KubernetesDeploymentRepository(configuration, namespaces=[namespace]) as repository:
        await repository.wait_synced(DEADLINE_S)
        yield Harness(DeploymentService(repository), cluster, namespace)


async def test_up_is_done_when_all_pods_are_ready(harness: Harness) -> None:
    await harness.create(2)
    result = await harness.wait(await harness.service.set_replicas(harness.web, SetTo(4)))
    assert (result.outcome, result.warnings) == (RolloutOutcome.DONE, ())
    ready = [
        each
        for each in await harness.pods()
        if {"Ready": "True"}.items() <= {c["type"]: c["status"] for c in each["status"]["conditions"]}.items()
    ]
    assert len(ready) == 4
    assert rollout_of(harness.service.get(harness.web)).state is RolloutState.SETTLED


async def test_from_5_to_3_is_not_done_before_two_pods_are_gone(harness: Harness) -> None:
    await harness.create(5)
    result = await harness.wait(await harness.service.set_replicas(harness.web, SetTo(3)))
    assert result.outcome is RolloutOutcome.DONE
    assert len(await harness.pods()) == 3
    assert (
        await harness.wait(await harness.service.set_replicas(harness.web, SetTo(0)))
    ).outcome is RolloutOutcome.DONE
    assert await harness.pods() == []


async def test_a_deadline_tells_the_counts_and_pods_that_exist_are_enough_for_scaled(harness: Harness) -> None:
    await harness.create(1, never_ready=True)
    scaled = await harness.service.set_replicas(harness.web, SetTo(3))
    done = await harness.wait(scaled, wait_for=WaitFor.SCALED)
    assert done.outcome is RolloutOutcome.DONE
    late = await harness.wait(scaled, timeout_s=0.5)
    assert (late.outcome, late.message) == (
        RolloutOutcome.TIMEOUT,
        "3 Pods desired, 3 created, 0 ready, 0 available",
    )


async def test_kubectl_supersedes(harness: Harness) -> None:
    await harness.create(1, never_ready=True)
    task = await harness.started(await harness.service.set_replicas(harness.web, SetTo(3)))
    await harness.kubectl("scale", "deploy/web", "--replicas=7")
    result = await task
    assert result.outcome is RolloutOutcome.SUPERSEDED
    assert result.deployment.replicas.desired == 7


@pytest.mark.parametrize("again", [False, True], ids=["deleted", "created-again"])
async def test_a_deployment_that_is_deleted(harness: Harness, *, again: bool) -> None:
    await harness.create(1, never_ready=True)
    task = await harness.started(await harness.service.set_replicas(harness.web, SetTo(3)))
    if again:
        described = deployment("web", 3)
        await harness.kubectl("replace", "--force", "-f", "-", text=json.dumps(described))
    else:
        await harness.kubectl("delete", "deploy/web")
    result = await task
    assert result.outcome is RolloutOutcome.DELETED
    assert (await harness.wait(result.target)).outcome is RolloutOutcome.DELETED


async def test_a_quota_blocks_with_the_clusters_own_words_and_room_unblocks(harness: Harness) -> None:
    await harness.create(2)
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"pods": "3"}}}
    await harness.apply(quota)
    await harness.kubectl("wait", "quota/few", "--for=jsonpath={.status.used.pods}=2", "--timeout=60s")
    scaled = await harness.service.set_replicas(harness.web, SetTo(5))
    result = await harness.wait(scaled)
    assert result.outcome is RolloutOutcome.BLOCKED
    assert "exceeded quota: few" in result.message
    assert result.message.endswith("(5 Pods desired, 3 created, 3 ready, 3 available)")
    assert result.elapsed_s >= 5
    assert rollout_of(harness.service.get(harness.web)).state is RolloutState.BLOCKED
    task = await harness.started(await harness.service.set_replicas(harness.web, SetTo(3)))
    assert (await task).outcome is RolloutOutcome.DONE


async def test_a_progress_deadline_that_passes_stalls(harness: Harness) -> None:
    await harness.create(2, never_ready=True, progressDeadlineSeconds=2)
    result = await harness.wait()
    assert result.outcome is RolloutOutcome.STALLED
    assert "has timed out progressing" in result.message
    found = harness.service.get(harness.web)
    assert rollout_of(found).state is RolloutState.STALLED
    assert found.progressing is not None
    assert found.progressing.reason == "ProgressDeadlineExceeded"


async def test_paused_scales_and_is_done_with_a_warning(harness: Harness) -> None:
    await harness.create(2)
    await harness.kubectl("rollout", "pause", "deploy/web")
    await harness.kubectl("set", "env", "deploy/web", "A=b")
    scaled = await harness.service.set_replicas(harness.web, SetTo(4))
    result = await harness.wait(scaled)
    assert result.outcome is RolloutOutcome.DONE
    assert result.warnings == ("its rollouts are paused, and Pods of an older revision run",)
    found = harness.service.get(harness.web)
    assert (found.paused, rollout_of(found).state) == (True, RolloutState.PAUSED)
    await harness.kubectl("rollout", "resume", "deploy/web")
    await harness.kubectl("rollout", "status", "deploy/web", "--timeout=60s")
    assert (await harness.wait()).outcome is RolloutOutcome.DONE


async def test_a_version_that_kubectl_has_seen_is_waited_for(harness: Harness) -> None:
    await harness.create(1)
    for number in range(10):
        patch = json.dumps({"metadata": {"labels": {"n": str(number)}}})
        changed = json.loads(await harness.kubectl("patch", "deploy/web", f"--patch={patch}", "-o", "json"))
        version = changed["metadata"]["resourceVersion"]
        await harness.service.wait_for_version(harness.namespace, version, DEADLINE_S)
        held = harness.service.get(harness.web)
        assert (held.labels["n"], held.resource_version) == (str(number), version)
    with pytest.raises(NotSeenYet):
        await harness.service.wait_for_version(harness.namespace, str(2**60), 0.1)


async def test_a_watch_that_is_cut_for_the_whole_wait_is_unknown(
    cluster: Cluster, namespace: str, proxy: Proxy, tmp_path: Path
) -> None:
    """And the wait can be taken up again with the same target, when the watch is back."""
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 1)])
    through = ClusterConfig(kubeconfig=proxy.kubeconfig(cluster.kubeconfig, tmp_path))
    async with KubernetesDeploymentRepository(through, namespaces=[namespace]) as repository:
        await repository.wait_synced(DEADLINE_S)
        harness = Harness(DeploymentService(repository), cluster, namespace)
        assert (await harness.wait()).outcome is RolloutOutcome.DONE
        proxy.refuse()
        proxy.cut()
        await harness.kubectl("scale", "deploy/web", "--replicas=3")
        described = json.loads(await harness.kubectl("get", "deploy/web", "-o", "json"))["metadata"]
        target = Target(described["uid"], described["resourceVersion"], 3)
        result = await harness.wait(target, timeout_s=2)
        assert result.outcome is RolloutOutcome.UNKNOWN
        assert result.deployment.replicas.desired == 1
        proxy.heal()
        assert (await harness.wait(target)).outcome is RolloutOutcome.DONE


@contextmanager
def status_writer(kubeconfig: Path, ref: DeploymentRef) -> Iterator[list[int]]:
    """Write a Deployment's status as fast as the API server takes it, on two connections. Yields how often it was."""
    configuration = client.Configuration()
    config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    path = f"/apis/apps/v1/namespaces/{ref.namespace}/deployments/{ref.name}/status"
    headers = {"Accept": "application/json", "Content-Type": "application/merge-patch+json"}
    ended, written = threading.Event(), [0, 0]

    def write(index: int) -> None:
        with client.ApiClient(configuration) as api:
            while not ended.is_set():
                written[index] += 1
                body = evolve_status(written[index], index)
                request = api.param_serialize(
                    "PATCH", path, header_params=headers, body=body, auth_settings=["BearerToken"]
                )
                api.call_api(*request).read()

    threads = [threading.Thread(target=write, args=(index,)) for index in range(2)]
    for each in threads:
        each.start()
    try:
        yield written
    finally:
        ended.set()
        for each in threads:
            each.join(DEADLINE_S)


def evolve_status(number: int, index: int) -> dict[str, Any]:
    return {"status": {"observedGeneration": 1, "replicas": number % 1000, "updatedReplicas": index}}


async def test_fifty_steps_at_once_are_fifty_beside_a_status_that_is_written_all_the_time(
    control_plane: ControlPlane,
) -> None:
    """Nor does a write that expects a count, or this object, meet a conflict with a status."""
    with control_plane.fresh_namespace() as namespace:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("web", 1)])
        ref = DeploymentRef(namespace, "web")
        configuration = ClusterConfig(kubeconfig=control_plane.kubeconfig)
        async with (
            KubernetesDeploymentRepository(configuration, namespaces=[namespace]) as repository,
            KubernetesDeploymentRepository(configuration, namespaces=[namespace]) as another,
        ):
            for each in (repository, another):
                await each.wait_synced(DEADLINE_S)
            services = [DeploymentService(repository), DeploymentService(another)]
            with status_writer(control_plane.kubeconfig, ref) as written:
                scaled = await asyncio.gather(*(services[i % 2].set_replicas(ref, ScaleBy(1)) for i in range(50)))
                assert sorted(each.replicas for each in scaled) == list(range(2, 52))
                uid = repository.get(ref).uid
                for count in range(51, 81):
                    expected = Expect(replicas=count, uid=uid)
                    after = await services[0].set_replicas(ref, SetTo(count + 1), expect=expected)
                    assert after.previous == count
            assert sum(written) > 100
        stored = control_plane.kubectl("get", "deploy/web", "-n", namespace, "-o", "jsonpath={.spec.replicas}")
        assert stored == "81"


async def test_a_thousand_who_wait_cost_the_api_server_nothing(control_plane: ControlPlane) -> None:
    with control_plane.fresh_namespace() as namespace:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("web", 3)])
        ref = DeploymentRef(namespace, "web")
        configuration = ClusterConfig(kubeconfig=control_plane.kubeconfig)
        async with KubernetesDeploymentRepository(configuration, namespaces=[namespace]) as repository:
            await repository.wait_synced(DEADLINE_S)
            service = DeploymentService(repository)
            before = await asyncio.to_thread(control_plane.request_counts)
            tasks = [asyncio.create_task(service.rollout(ref, timeout_s=DEADLINE_S)) for _ in range(1000)]
            await asyncio.sleep(0)
            during = await asyncio.to_thread(control_plane.request_counts)
            assert not [kind for kind in (during - before) if kind.resource == "deployments"]
            settled = {"status": {"observedGeneration": 1, **dict.fromkeys(_COUNTS, 3)}}
            patch = ("--subresource=status", "--type=merge", f"--patch={json.dumps(settled)}")
            await asyncio.to_thread(control_plane.kubectl, "patch", "deploy/web", "-n", namespace, *patch)
            results = await asyncio.gather(*tasks)
            assert {each.outcome for each in results} == {RolloutOutcome.DONE}


_COUNTS = ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
