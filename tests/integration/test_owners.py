"""Who else changes a count, on a real cluster: what kdm says of a count is what becomes of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core import (
    ChangeKind,
    Deployment,
    DeploymentRef,
    DeploymentService,
    Effect,
    Owner,
    OwnerConflict,
    OwnerType,
    Scaled,
    SetTo,
)
from kdm_core.testing.following import Follower
from kdm_http.server.serve import TlsFiles
from unit.http.credentials import Credentials

from .controlplane.access import Cluster
from .controlplane.cluster import LOOPBACK, ControlPlane
from .metrics_api import MetricsApi
from .workloads import deployment

DEADLINE_S = 60.0
AT_TARGET = 80
"""Millicores: of the 100 that a Pod requests, what it should use."""
METRICS = [
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
]


class Harness:
    """A service that looks for owners, and kubectl beside it."""

    def __init__(self, repository: KubernetesDeploymentRepository, cluster: Cluster, namespace: str) -> None:
        self.repository = repository
        self.service = DeploymentService(repository)
        self.namespace = namespace
        self.web = DeploymentRef(namespace, "web")
        self._cluster = cluster

    async def kubectl(self, *arguments: str, given: Any = None) -> str:
        text = None if given is None else json.dumps(given)
        return await asyncio.to_thread(self._cluster.kubectl, *arguments, "-n", self.namespace, input=text)

    async def create(self, replicas: int, *, cpu: str = "", **metadata: Any) -> None:
        """Create the Deployment as a program does that does not apply."""
        described = deployment("web", replicas)
        described["metadata"] |= metadata
        if cpu:
            described["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": cpu}}
        await self.kubectl("create", "-f", "-", given=described)
        await self.until(lambda _: True)

    async def autoscale(self, least: int, most: int, **metadata: Any) -> None:
        """Create an autoscaler of the Deployment, and wait until kdm knows it."""
        target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
        spec = {"scaleTargetRef": target, "minReplicas": least, "maxReplicas": most, "metrics": METRICS}
        kind = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
        described = {**kind, "metadata": {"name": "scaler", **metadata}, "spec": spec}
        await self.kubectl("apply", "-f", "-", given=described)
        await self.until(lambda found: any(each.max == most for each in found.owners))

    async def until(self, so: Callable[[Deployment], bool]) -> Deployment:
        """Wait until the repository shows the Deployment so."""
        changed = asyncio.Event()
        stop = self.repository.follow(self.web, changed.set)
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not ((found := self._held()) is not None and so(found)):
                    changed.clear()
                    await changed.wait()
                return found
        finally:
            stop()

    async def set(self, replicas: int, **more: Any) -> Scaled:
        return await self.service.set_replicas(self.web, SetTo(replicas), **more)

    def _held(self) -> Deployment | None:
        return next((each for each in self.repository.list(self.namespace) if each.ref == self.web), None)


@pytest.fixture
async def harness(cluster: Cluster, namespace: str) -> AsyncIterator[Harness]:
    configuration = ClusterConfig(kubeconfig=cluster.kubeconfig)
    async with KubernetesDeploymentRepository(configuration, namespaces=[namespace], owners=True) as repository:
        await repository.wait_synced(DEADLINE_S)
        yield Harness(repository, cluster, namespace)


@pytest.fixture
def metrics(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[MetricsApi]:
    """A metrics API that says of every Pod of the namespace that it does what it should."""
    files = TlsFiles(tmp_path / "server.pem", tmp_path / "server-key.pem", tmp_path / "ca.pem")
    Credentials().write(files)

    def pods() -> list[str]:
        return cluster.kubectl("get", "pods", "-n", namespace, "-o", "jsonpath={.items[*].metadata.name}").split()

    with MetricsApi(cluster, _node(cluster), files.certificate, files.key, pods, "app") as metrics:
        metrics.millicores = AT_TARGET
        yield metrics


def _node(cluster: Cluster) -> str:
    """Return the address of what has to reach this machine."""
    if isinstance(cluster, ControlPlane):
        return LOOPBACK
    address = "jsonpath={.items[0].status.addresses[?(@.type=='InternalIP')].address}"
    return cluster.kubectl("get", "nodes", "-o", address)


def effects(scaled: Scaled) -> list[Effect]:
    return [each.effect for each in scaled.owners]


async def test_an_autoscaler_stops_where_the_count_is_0_as_kdm_says(harness: Harness) -> None:
    await harness.create(2)
    await harness.autoscale(2, 4)

    assert effects(await harness.set(0)) == [Effect.SUSPENDS]

    await harness.kubectl("wait", "hpa/scaler", "--for=condition=ScalingActive=false", f"--timeout={DEADLINE_S:.0f}s")
    conditions = json.loads(await harness.kubectl("get", "hpa", "scaler", "-o", "json"))["status"]["conditions"]
    await harness.kubectl(
        "wait", "hpa/scaler", f"--timeout={DEADLINE_S:.0f}s",
        "--for=jsonpath={.status.conditions[?(@.type=='ScalingActive')].reason}=ScalingDisabled",
    )  # fmt: skip
    assert conditions
    assert harness.repository.get(harness.web).replicas.desired == 0


@pytest.mark.parametrize(("asked", "bound"), [(9, 4), (1, 2)])
async def test_an_autoscaler_puts_back_what_is_out_of_its_bounds_as_kdm_says(
    harness: Harness, asked: int, bound: int
) -> None:
    """Without override nothing is written; with it, the controller manager is seen to do what the message said."""
    await harness.create(3)
    await harness.autoscale(2, 4)

    with pytest.raises(OwnerConflict, match=f"sets it to {bound} within its sync period"):
        await harness.set(asked)
    assert (await harness.service.set_replicas(harness.web, SetTo(3))).changed is False

    assert effects(await harness.set(asked, override=True)) == [Effect.REVERTS]

    reverted = await harness.until(lambda found: found.replicas.desired == bound)
    # Seen on v1.36.3: a write through scale has no time in managedFields.
    assert reverted.last_change is None or reverted.last_change.manager == "kube-controller-manager"


async def test_an_autoscaler_changes_a_count_inside_its_bounds_when_its_metric_asks_for_another(
    harness: Harness, metrics: MetricsApi
) -> None:
    """At its target it leaves the count that kdm wrote; then it doubles it."""
    await harness.create(2, cpu="100m")
    await harness.autoscale(2, 8)
    await harness.kubectl("wait", "hpa/scaler", "--for=condition=ScalingActive", f"--timeout={DEADLINE_S:.0f}s")

    assert effects(await harness.set(3)) == [Effect.MAY_CHANGE]
    await harness.until(lambda found: found.replicas.ready == 3)
    await harness.kubectl(
        "wait", "hpa/scaler", "--for=jsonpath={.status.desiredReplicas}=3", f"--timeout={DEADLINE_S:.0f}s"
    )
    assert harness.repository.get(harness.web).replicas.desired == 3

    metrics.millicores = 2 * AT_TARGET
    changed = await harness.until(lambda found: found.replicas.desired == 6)
    assert changed.last_change is not None
    assert changed.last_change.manager == "kube-controller-manager"
    assert [each.effect(6, 6) for each in changed.owners] == [Effect.MAY_CHANGE]


async def test_a_change_of_an_autoscaler_is_a_change_of_its_deployment(harness: Harness) -> None:
    await harness.create(3)
    follower = Follower(harness.repository.changes(harness.namespace))
    await follower.until_synced()

    await harness.autoscale(2, 4)
    changes = await follower.until(lambda each: each.deployment is not None and bool(each.deployment.owners))
    assert changes[-1].kind is ChangeKind.MODIFIED
    await harness.autoscale(3, 6)
    await harness.kubectl("delete", "hpa", "scaler")
    await harness.until(lambda found: found.owners == ())
    await follower.aclose()


async def test_kedas_object_is_named_with_its_remedy(harness: Harness) -> None:
    await harness.create(3)
    await define(harness, "keda.sh", "v1alpha1", "ScaledObject", "scaledobjects")
    kind = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject"}
    made = await harness.kubectl("create", "-f", "-", "-o", "json", given={**kind, "metadata": {"name": "queue"}})
    owner = {**kind, "name": "queue", "uid": json.loads(made)["metadata"]["uid"], "controller": True}
    await harness.autoscale(1, 4, ownerReferences=[{**owner, "blockOwnerDeletion": True}])

    assert harness.repository.get(harness.web).owners == (
        Owner("ScaledObject", "queue", 1, 4, OwnerType.SCALED_OBJECT),
    )
    with pytest.raises(OwnerConflict, match=r"set the annotation .*paused-replicas of ScaledObject"):
        await harness.set(0)
    assert effects(await harness.set(2)) == [Effect.MAY_CHANGE]


async def test_argo_cds_application_is_an_owner_of_what_its_annotation_names(harness: Harness) -> None:
    await define(harness, "argoproj.io", "v1alpha1", "Application", "applications")
    given = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Application", "metadata": {"name": "storefront"}}
    await harness.kubectl("create", "-f", "-", given=given)
    tracking = f"storefront:apps/Deployment:{harness.namespace}/web"
    await harness.create(3, annotations={"argocd.argoproj.io/tracking-id": tracking})

    scaled = await harness.set(5)
    assert [(str(each.owner), each.effect) for each in scaled.owners] == [
        ("Application 'storefront'", Effect.MAY_CHANGE)
    ]


async def test_flux_holds_the_count_and_sets_it_back_when_it_applies_again(harness: Harness) -> None:
    """Server-side apply as kustomize-controller, by kubectl: the field manager is all that kdm goes by."""
    labels = {"kustomize.toolkit.fluxcd.io/name": "apps"}
    described = deployment("web", 3, labels=labels)
    apply = ("apply", "--server-side", "--force-conflicts", "--field-manager=kustomize-controller", "-f", "-")
    await harness.kubectl(*apply, given=described)
    await harness.until(lambda found: any(each.holds for each in found.owners))

    with pytest.raises(OwnerConflict, match="Kustomization 'apps' holds the count"):
        await harness.set(5)
    assert effects(await harness.set(5, override=True)) == [Effect.REVERTS]
    taken = await harness.until(lambda found: found.replicas.desired == 5 and not found.owners[0].holds)
    assert taken.owners[0].effect(5, 6) is Effect.MAY_CHANGE, "Flux holds it no more, until it applies again"
    await harness.kubectl(*apply, given=described)
    assert (await harness.until(lambda found: found.replicas.desired == 3)).owners[0].holds


async def test_kubectl_apply_resets_the_count_as_kdm_says(harness: Harness) -> None:
    described = deployment("web", 3)
    await harness.kubectl("apply", "-f", "-", given=described)
    await harness.until(lambda found: bool(found.owners))

    assert effects(await harness.set(5)) == [Effect.RESETS_ON_APPLY]
    await harness.kubectl("apply", "-f", "-", given=described)
    await harness.until(lambda found: found.replicas.desired == 3)


async def test_an_operators_deployment_is_the_operators(harness: Harness) -> None:
    made = json.loads(await harness.kubectl("create", "configmap", "shop", "-o", "json"))
    owner = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "name": "shop",
        "uid": made["metadata"]["uid"],
        "controller": True,
    }
    await harness.create(3, ownerReferences=[owner])
    scaled = await harness.set(4)
    assert [(str(each.owner), each.effect) for each in scaled.owners] == [("ConfigMap 'shop'", Effect.MAY_CHANGE)]


async def define(harness: Harness, group: str, version: str, kind: str, plural: str) -> None:
    """Have the API server serve a kind, unless it does already."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"}
    versions = [{"name": version, "served": True, "storage": True, "schema": schema}]
    name = f"{plural}.{group}"
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions}
    kinds = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    await harness.kubectl("apply", "-f", "-", given={**kinds, "metadata": {"name": name}, "spec": spec})
    await harness.kubectl("wait", f"crd/{name}", "--for=condition=Established", f"--timeout={DEADLINE_S:.0f}s")
