"""The back doors to a real API server that the repository contract asks for."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes.api.resources import AUTOSCALERS, DEPLOYMENTS, Resource
from kdm_core import (
    ClusterOverloaded,
    ClusterTimeout,
    ClusterUnreachable,
    ClusterUnrecognized,
    DeploymentRef,
    KdmError,
    Owner,
    SourceStatus,
    WriteConflict,
    WriteForbidden,
    WriteInvalid,
)
from kdm_core.testing.following import DEADLINE_S
from kdm_core.testing.harness import ScopedRepositoryHarness
from unit.adapters.kubernetes.owned import Autoscalers, autoscaled, autoscaler, manager, marks

from .api_gateway import ApiGateway, administrator, page
from .workloads import deployment

STALE_AFTER_S: Final = 1e6
_REFUSALS: Final[Mapping[type[KdmError], tuple[int, str]]] = {
    ClusterOverloaded: (429, "TooManyRequests"),
    WriteConflict: (409, "Conflict"),
    WriteForbidden: (403, "Forbidden"),
    WriteInvalid: (422, "Invalid"),
}
_numbers = itertools.count()


class KubernetesHarness(ScopedRepositoryHarness):
    """A real API server behind a gateway that can fail, and repositories on it whose clock runs ahead while they wait.

    Args:
        gateway: What the repositories talk to.
        api: What the back doors talk to.
        kubeconfig: Leads to the gateway.
        scoped: Whether the repositories watch ``namespaces`` only.
    """

    buffer = 16
    repository: KubernetesDeploymentRepository

    def __init__(self, gateway: ApiGateway, api: aiohttp.ClientSession, kubeconfig: Path, *, scoped: bool) -> None:
        name = f"contract-{uuid.uuid4().hex[:6]}-{next(_numbers)}"
        self.namespaces = (f"{name}-one", f"{name}-two")
        self.unwatched = f"{name}-unwatched"
        self._gateway = gateway
        self._api = api
        self._kubeconfig = kubeconfig
        self._watched = self.namespaces if scoped else None
        self._skipped_s = 0.0
        self.autoscalers: Autoscalers = {}
        self.repository = self.another()

    def another(self) -> KubernetesDeploymentRepository:
        return KubernetesDeploymentRepository(
            ClusterConfig(kubeconfig=self._kubeconfig),
            namespaces=self._watched,
            stale_after_s=STALE_AFTER_S,
            refuse_stale=True,
            owners=True,
            write_timeout_s=1.0,
            buffer=self.buffer,
            clock=lambda: time.monotonic() + self._skipped_s,
            sleep=self._skip,
        )

    async def create_namespaces(self) -> None:
        for namespace in (*self.namespaces, self.unwatched):
            await self._call("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})

    async def seed(
        self, ref: DeploymentRef, replicas: int, *, labels: Mapping[str, str] | None = None, paused: bool = False
    ) -> None:
        body = deployment(ref.name, replicas, labels=dict(labels or {}))
        body["spec"]["paused"] = paused
        await self._call("POST", _path(ref.namespace), body)

    async def seed_owned(self, ref: DeploymentRef, replicas: int, owner: Owner) -> None:
        body = deployment(ref.name, replicas)
        body["metadata"] |= marks(ref, [owner])
        holder = manager([owner])
        await self._call("POST", _path(ref.namespace) + (f"?fieldManager={holder}" if holder else ""), body)

    async def autoscale(self, ref: DeploymentRef, target: str, owner: Owner) -> None:
        path, body = _path(ref.namespace, ref.name, AUTOSCALERS), autoscaler(ref, target, owner)
        await self._call("PATCH", f"{path}?fieldManager=tests&force=true", body, "application/apply-patch+yaml")
        self.autoscalers[ref] = (DeploymentRef(ref.namespace, target), owner)

    async def end_autoscaling(self, ref: DeploymentRef) -> None:
        await self._call("DELETE", _path(ref.namespace, ref.name, AUTOSCALERS))
        del self.autoscalers[ref]

    async def edit(
        self, ref: DeploymentRef, *, replicas: int | None = None, labels: Mapping[str, str] | None = None
    ) -> None:
        patch: list[dict[str, Any]] = []
        if replicas is not None:
            patch.append({"op": "replace", "path": "/spec/replicas", "value": replicas})
        if labels is not None:
            patch.append({"op": "add", "path": "/metadata/labels", "value": dict(labels)})
        await self._call("PATCH", _path(ref.namespace, ref.name), patch, "application/json-patch+json")

    async def delete(self, ref: DeploymentRef) -> None:
        await self._call("DELETE", _path(ref.namespace, ref.name), {"propagationPolicy": "Background"})

    async def stored_replicas(self, ref: DeploymentRef) -> int | None:
        stored = {each["metadata"]["name"]: each for each in await self._stored(ref.namespace)}
        return int(stored[ref.name]["spec"]["replicas"]) if ref.name in stored else None

    async def settle(self) -> None:
        if self._gateway.watches_broken:
            return
        stored = {
            (namespace, each["metadata"]["name"], each["metadata"]["resourceVersion"])
            for namespace in self.namespaces
            for each in await self._stored(namespace)
        }
        await self._until(
            lambda: (
                self.repository.sync_status().healthy
                and self._seen() == stored
                and autoscaled(self.own(self.repository.list()), self.autoscalers)
            )
        )

    async def break_watch(self) -> None:
        self._gateway.watches_broken = True
        self._gateway.cut_watches()
        await self._until(lambda: not self.repository.sync_status().connected)

    async def heal_watch(self) -> None:
        self._gateway.watches_broken = False
        self._gateway.broken_namespace = ""

    async def break_watch_of(self, namespace: str) -> None:
        self._gateway.broken_namespace = namespace
        self._gateway.cut_watches()
        await self._until(lambda: not self._source(namespace).connected)

    async def go_stale_in(self, namespace: str) -> None:
        await self.break_watch_of(namespace)
        self._skipped_s += STALE_AFTER_S + 1
        self._gateway.cut_watches()  # the others prove anew that they are fresh
        (other,) = set(self.namespaces) - {namespace}
        await self._until(lambda: not self._source(other).stale)

    def _source(self, namespace: str) -> SourceStatus:
        return next(each for each in self.repository.sync_status().sources if each.source == namespace)

    async def go_stale(self) -> None:
        await self.break_watch()
        self._skipped_s += STALE_AFTER_S + 1

    async def fail(self, error: type[KdmError]) -> None:
        if error is ClusterUnreachable:
            await self._gateway.leave()
        else:
            await self._gateway.come_back()
        self._gateway.mute = error is ClusterTimeout
        self._gateway.speaks = page(404) if error is ClusterUnrecognized else None
        self._gateway.write_refusal = _REFUSALS.get(error)

    async def heal(self) -> None:
        await self.fail(KdmError)

    def _seen(self) -> set[tuple[str, str, str]]:
        return {(each.ref.namespace, each.ref.name, each.resource_version) for each in self.own(self.repository.list())}

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not condition():  # noqa: ASYNC110 - a repository tells nobody of each thing it sees
                await asyncio.sleep(0.005)

    async def _skip(self, seconds: float) -> None:
        """Let a wait pass, but leave the others a moment: a backoff need not take its time in a test."""
        await asyncio.sleep(0.02)
        self._skipped_s += seconds

    async def _stored(self, namespace: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (await self._call("GET", _path(namespace)))["items"]
        return items

    async def _call(
        self, method: str, path: str, body: object = None, media_type: str = "application/json"
    ) -> dict[str, Any]:
        async with self._api.request(method, path, json=body, headers={"Content-Type": media_type}) as answer:
            content: dict[str, Any] = await answer.json(content_type=None)
            assert answer.status < 300, content
            return content


@asynccontextmanager
async def kubernetes_harness(kubeconfig: str, directory: Path, *, scoped: bool) -> AsyncIterator[KubernetesHarness]:
    """Make a harness whose repository is entered and synced, in namespaces of its own.

    Args:
        kubeconfig: The administrator's, as text.
        directory: Where another one may be written.
        scoped: Whether the repository watches the harness's namespaces only.
    """
    async with administrator(kubeconfig) as api, ApiGateway(api).serving() as gateway:
        harness = KubernetesHarness(gateway, api, gateway.kubeconfig(directory), scoped=scoped)
        await harness.create_namespaces()
        async with harness.repository:
            await harness.repository.wait_synced(DEADLINE_S)
            yield harness


def _path(namespace: str, name: str = "", resource: Resource = DEPLOYMENTS) -> str:
    return resource.path(namespace) + (f"/{name}" if name else "")
