"""What a real API server says in Protocol Buffers is, to the last field kept, what it says in JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import attrs
import pytest
from kubernetes import client as official
from kubernetes import config

from kdm_adapters.kubernetes import ClusterConfig
from kdm_adapters.kubernetes.api.client import ApiError, Client
from kdm_adapters.kubernetes.api.resources import DEPLOYMENTS
from kdm_adapters.kubernetes.config.credentials import Credentials
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page
from kdm_adapters.kubernetes.wire.readers import JSON, LIST_ACCEPT, PROTOBUF, WATCH_ACCEPT, Readers
from kdm_core import Deployment

from .controlplane.cluster import ControlPlane
from .workloads import create_deployments, deployment

DEADLINE_S = 30.0
WATCH_LIST = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
EITHER = pytest.mark.parametrize("accept", [LIST_ACCEPT, JSON], ids=["protobuf", "json"])
CONDITIONS = [
    {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable", "message": "not yet"},
    {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small, \u2713"},
    {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "timed out " * 9},
]


@pytest.fixture
async def client(control_plane: ControlPlane) -> AsyncIterator[Client]:
    client = Client(Credentials(ClusterConfig(kubeconfig=control_plane.kubeconfig)))
    yield client
    await client.close()


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    with control_plane.fresh_namespace() as name:
        yield name


@pytest.fixture
def filled(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace with Deployments of every kind. Nobody acts on them."""
    described: list[dict[str, Any]] = [
        deployment("plain"),
        deployment("none", 0),
        deployment("many", 2**31 - 1),
        deployment("long", labels={f"kdm.test/label-{i:02}": "v" * 63 for i in range(40)} | {"empty": ""}),
        deployment("large", padding_bytes=200_000),
    ]
    for each in described:
        each["spec"]["paused"] = each["metadata"]["name"] != "plain"
    del described[0]["spec"]["replicas"]
    create_deployments(control_plane.kubeconfig, namespace, described)
    counts = {"observedGeneration": 1, "replicas": 7, "updatedReplicas": 6, "readyReplicas": 5}
    status = {"status": {**counts, "conditions": CONDITIONS}}
    arguments = (f"--namespace={namespace}", "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")
    control_plane.kubectl("patch", "deployment", "none", *arguments)
    return namespace


async def listed(client: Client, namespace: str, accept: str, **query: str) -> tuple[str, list[Page]]:
    async with asyncio.timeout(DEADLINE_S), client.stream("list", DEPLOYMENTS.path(namespace), query, accept) as answer:
        reader = Readers().list(answer.media_type)
        pages = [page async for chunk in answer.body.iter_any() if (page := reader.feed(chunk))]
        return answer.media_type, [*pages, reader.end()]


async def watched(client: Client, namespace: str, accept: str, **query: str) -> tuple[str, list[Any]]:
    """Read a watch that begins with the present state, up to the bookmark that ends it."""
    query |= {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "20"}
    async with (
        asyncio.timeout(DEADLINE_S),
        client.stream("watch", DEPLOYMENTS.path(namespace), query, accept) as answer,
    ):
        reader, told = Readers().events(answer.media_type), list[Any]()
        async for chunk in answer.body.iter_any():
            told += reader.feed(chunk)
            if told and isinstance(told[-1], (Bookmark, Failure)):
                break
        return answer.media_type, told


def objects(pages: list[Page]) -> list[Deployment]:
    assert not any(page.undecodable for page in pages)
    return [each for page in pages for each in page.deployments]


async def test_a_list_says_the_same_in_both(client: Client, filled: str) -> None:
    in_protobuf, in_json = [await listed(client, filled, accept) for accept in (LIST_ACCEPT, JSON)]
    assert (in_protobuf[0], in_json[0]) == (PROTOBUF, JSON)
    assert objects(in_protobuf[1]) == objects(in_json[1])
    found = {each.ref.name: each for each in objects(in_protobuf[1])}
    assert {name: each.replicas.desired for name, each in found.items()} == {
        "plain": 1, "none": 0, "many": 2**31 - 1, "long": 1, "large": 1
    }  # fmt: skip
    none = found["none"].replicas
    assert (none.current, none.updated, none.ready, none.available) == (7, 6, 5, 0)
    assert len(found["long"].labels) == 41
    assert (found["plain"].progressing, found["plain"].replica_failure) == (None, None)
    assert {name for name, each in found.items() if each.paused} == found.keys() - {"plain"}


async def test_conditions_are_what_the_official_client_reads(
    client: Client, control_plane: ControlPlane, filled: str
) -> None:
    configuration = official.Configuration()
    config.load_kube_config(  # type: ignore[no-untyped-call]
        str(control_plane.kubeconfig), client_configuration=configuration
    )
    with official.ApiClient(configuration) as api:
        read = official.AppsV1Api(api).read_namespaced_deployment("none", filled)
    assert read.status is not None
    said = {
        each.type: (each.status, each.reason, (each.message or "").strip()) for each in read.status.conditions or ()
    }
    for accept in (LIST_ACCEPT, JSON):
        (found,) = [each for each in objects((await listed(client, filled, accept))[1]) if each.ref.name == "none"]
        assert found.progressing is not None
        assert found.replica_failure is not None
        assert attrs.astuple(found.progressing) == said["Progressing"]
        assert attrs.astuple(found.replica_failure) == said["ReplicaFailure"]


@EITHER
async def test_pages_are_continued(client: Client, filled: str, accept: str) -> None:
    _, [*_, first] = await listed(client, filled, accept, limit="3")
    _, [*_, last] = await listed(client, filled, accept, limit="3", **{"continue": first.continue_token})
    assert first.continue_token
    assert not last.continue_token
    assert first.resource_version == last.resource_version


async def test_a_watch_list_says_the_same_in_both(client: Client, filled: str) -> None:
    in_protobuf, in_json = [await watched(client, filled, accept, **WATCH_LIST) for accept in (WATCH_ACCEPT, JSON)]
    assert (in_protobuf[0], in_json[0]) == (PROTOBUF, JSON)
    for _, (*events, end) in (in_protobuf, in_json):
        assert all(isinstance(each, Event) and each.kind == "ADDED" for each in events)
        assert isinstance(end, Bookmark)
        assert end.initial_events_end
    in_order = [sorted(each.deployment.ref.name for each in told[:-1]) for _, told in (in_protobuf, in_json)]
    assert in_order[0] == in_order[1]
    assert {each.deployment.ref: each for each in in_protobuf[1][:-1]} == {
        each.deployment.ref: each for each in in_json[1][:-1]
    }


async def test_a_refusal_says_the_same_in_both(client: Client, namespace: str) -> None:
    """A Status, be it in Protocol Buffers."""
    told = []
    for accept in (LIST_ACCEPT, JSON):
        with pytest.raises(ApiError) as caught:
            await listed(client, namespace, accept, **{"continue": "nonsense"})
        told.append(caught.value.failure)
    assert told[0] == told[1]
    assert (told[0].code, told[0].reason) == (400, "BadRequest")


async def test_a_version_yet_to_come_is_refused_in_both(client: Client, namespace: str) -> None:
    """As an answer or as an ERROR event, as the API server likes."""
    query = WATCH_LIST | {"resourceVersion": "999999999999"}
    told = []
    for accept in (WATCH_ACCEPT, JSON):
        try:
            _, (found,) = await watched(client, namespace, accept, **query)
        except ApiError as error:
            found = error.failure
        told.append(found)
    assert [(each.code, each.too_large) for each in told] == [(504, True)] * 2
