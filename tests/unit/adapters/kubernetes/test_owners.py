"""Owners of a cluster that does not serve autoscalers: they are unknown, and nothing else is the worse for it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes.wire.autoscalers import Autoscaler, decoder
from kdm_adapters.kubernetes.wire.messages import Undecodable
from kdm_core import DeploymentRef, Owner, OwnerType, Trouble
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer, Reply, refusing

WEB = DeploymentRef("shop", "web")


@pytest.mark.parametrize(
    ("code", "reason", "trouble"), [(404, "NotFound", Trouble.FAILED), (403, "Forbidden", Trouble.FORBIDDEN)]
)
async def test_autoscalers_that_cannot_be_read_hurt_no_read(
    server: ApiServer, tmp_path: Path, code: int, reason: str, trouble: Trouble
) -> None:
    server.cluster.create("shop/web", desired=3)
    asked = asyncio.Event()

    async def without_autoscalers(reply: Reply) -> None:
        if "horizontalpodautoscalers" not in reply.request.path:
            await server.answer(reply)
        else:
            await refusing(code, reason, "no autoscalers")(reply)
            asked.set()

    server.standing_faults.update(list=without_autoscalers, watch=without_autoscalers)
    config = ClusterConfig(kubeconfig=server.kubeconfig(tmp_path))
    async with KubernetesDeploymentRepository(config, owners=True) as repository:
        await repository.wait_synced(DEADLINE_S)
        async with asyncio.timeout(DEADLINE_S):
            await asked.wait()
            while repository.sync_status().owners[0].trouble is not trouble:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            while not (status := repository.sync_status()).healthy:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
        assert repository.get(WEB).replicas.desired == 3
        (autoscalers,) = status.owners
        assert (autoscalers.source, autoscalers.synced) == ("horizontalpodautoscalers/*", False)
        assert autoscalers.trouble is trouble


def autoscaler(body: bytes) -> Autoscaler:
    found = decoder().item(body)
    assert isinstance(found, Autoscaler)
    return found


def test_an_autoscaler_is_read_as_the_controller_reads_it() -> None:
    head = b'{"metadata":{"namespace":"shop","name":"hpa","uid":"u","resourceVersion":"7"},"spec":'
    spec = b'{"scaleTargetRef":{"apiVersion":"%b","kind":"%b","name":"web"},"maxReplicas":4}}'
    of_web = autoscaler(head + spec % (b"apps/v1", b"Deployment"))
    assert (of_web.target, of_web.owner) == (WEB, Owner("HorizontalPodAutoscaler", "hpa", 1, 4, OwnerType.AUTOSCALER))
    assert autoscaler(head + spec % (b"apps/v1beta2", b"Deployment")).target == WEB, "the group counts, not the version"
    assert autoscaler(head + spec % (b"apps/v1", b"deployment")).target == WEB, "the kind may be in lower case"
    for api_version, kind in (
        (b"apps/v1", b"StatefulSet"),
        (b"apps/v1", b"DEPLOYMENT"),
        (b"apps/v1", b"deployments"),
        (b"example.org/v1", b"Deployment"),
        (b"extensions/v1beta1", b"Deployment"),
        (b"v1", b"Deployment"),
    ):
        assert autoscaler(head + spec % (api_version, kind)).target is None


def test_a_scaled_objects_name_is_one_short_line_whatever_somebody_wrote_there() -> None:
    """The API server takes any name in an owner reference."""
    reference = {"apiVersion": "keda.sh/v1", "kind": "ScaledObject", "name": "a\nb" * 5000, "controller": True}
    metadata = {"namespace": "shop", "name": "hpa", "uid": "u", "resourceVersion": "7", "ownerReferences": [reference]}
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    owner = autoscaler(json.dumps({"metadata": metadata, "spec": {"scaleTargetRef": target}}).encode()).owner
    assert (owner.type, str(owner).isprintable(), len(owner.name) < 300) == (OwnerType.SCALED_OBJECT, True, True)


def test_what_is_no_autoscaler_is_left_out() -> None:
    assert isinstance(decoder().item(b'{"kind":"Deployment","metadata":{"name":"a"}}'), Undecodable)
    assert isinstance(decoder().item(b'{"metadata":{"name":"a"}}'), Undecodable)
    assert decoder().item(b'{"metadata":{"na') is None
