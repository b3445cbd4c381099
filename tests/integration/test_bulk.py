"""Many Deployments at once on a real API server, counted in front of it: what it gets, and what it has in the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from aiohttp import web

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core import (
    Bulk,
    BulkItem,
    BulkRefused,
    BulkResult,
    DeploymentRef,
    DeploymentService,
    ItemOutcome,
    OnError,
    ScaleBy,
    Selection,
    SetTo,
)
from kdm_core.bulk import AT_A_TIME, BulkChange

from .admission import policy
from .api_gateway import ApiGateway, _abort, administrator
from .controlplane.cluster import ControlPlane
from .workloads import create_deployments, deployment

Fault = Literal["before", "after", "gone", "throttled"]
"""What happens to the write of a Deployment: its connection breaks before the API server gets it, or after it has
stored it; from then on there is no API server; or it asks for fewer requests."""


class CountingGateway(ApiGateway):
    """Counts the writes under way, and breaks some of them."""

    def __init__(self, upstream: object) -> None:
        super().__init__(upstream)  # type: ignore[arg-type] # as its base
        self.under_way = self.most = self.writes = 0
        self.faults: Mapping[str, Fault] = {}

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        if request.method != "PATCH":
            return await super()._pass(request)
        self.under_way += 1
        self.writes += 1
        self.most = max(self.most, self.under_way)
        try:
            return await self._write(request)
        finally:
            self.under_way -= 1

    async def _write(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.get(request.path.split("/")[-2])
        assert request.transport is not None
        if fault == "gone":
            await self.leave()
        elif fault == "before":
            _abort(request.transport)
        elif fault == "throttled":
            return web.json_response({"kind": "Status", "status": "Failure", "code": 429}, status=429)
        elif fault == "after":
            async with self._upstream.patch(
                request.path_qs, data=await request.read(), headers={"Content-Type": request.content_type}
            ) as answer:
                assert answer.status == 200
            _abort(request.transport)
        else:
            return await super()._pass(request)
        return web.Response()


class Shop:
    """A namespace full of Deployments, and a kdm behind the gateway."""

    def __init__(
        self, plane: ControlPlane, namespace: str, gateway: CountingGateway, service: DeploymentService
    ) -> None:
        self.plane = plane
        self.namespace = namespace
        self.gateway = gateway
        self.service = service

    async def truth(self) -> dict[str, tuple[int, str, str]]:
        """The count, the uid and the resourceVersion of each Deployment, as the API server has it."""
        shown = await asyncio.to_thread(
            self.plane.kubectl, "get", "deployments", f"--namespace={self.namespace}", "--output=json"
        )
        return {
            each["metadata"]["name"]: (
                each["spec"]["replicas"], each["metadata"]["uid"], each["metadata"]["resourceVersion"]
            )
            for each in json.loads(shown)["items"]
        }  # fmt: skip

    def all(self, change: BulkChange, on_error: OnError = OnError.ABORT) -> Bulk:
        return Bulk(Selection(change, self.namespace, everything=True), on_error=on_error)

    def ref(self, name: str) -> DeploymentRef:
        return DeploymentRef(self.namespace, name)


@asynccontextmanager
async def shop(plane: ControlPlane, directory: Path, count: int) -> AsyncIterator[Shop]:
    """Create so many Deployments, whose status nobody writes: what changes is what kdm changes."""
    made = [deployment(f"d-{index:03}", 0) for index in range(count)]
    with plane.fresh_namespace() as namespace:
        await asyncio.to_thread(create_deployments, plane.kubeconfig, namespace, made)
        async with administrator(plane.kubeconfig.read_text()) as api, CountingGateway(api).serving() as gateway:
            assert isinstance(gateway, CountingGateway)
            config = ClusterConfig(kubeconfig=gateway.kubeconfig(directory))
            async with KubernetesDeploymentRepository(config, namespaces=[namespace]) as repository:
                await repository.wait_synced(60)
                yield Shop(plane, namespace, gateway, DeploymentService(repository))


async def test_500_deployments_are_scaled_never_more_than_8_at_a_time(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Exactly 500 writes, one for each; the plan asks as often and stores nothing."""
    async with shop(control_plane, tmp_path, 500) as staged:
        before = await staged.truth()
        plan = await staged.service.scale_many(staged.all(ScaleBy(1)), dry_run=True)
        assert staged.gateway.writes == 500
        done = await staged.service.scale_many(staged.all(ScaleBy(1)), if_plan={plan.plan.tag})
        assert done.complete
        assert (staged.gateway.writes, staged.gateway.most) == (1000, AT_A_TIME)
        after = await staged.truth()
        assert {count for count, _, _ in after.values()} == {1}
        assert {name: uid for name, (_, uid, _) in after.items()} == {name: uid for name, (_, uid, _) in before.items()}


async def test_a_refusal_leaves_every_resource_version_as_it_was(control_plane: ControlPlane, tmp_path: Path) -> None:
    async with shop(control_plane, tmp_path, 10) as staged:
        before = await staged.truth()
        items = [BulkItem(staged.ref(name), SetTo(0)) for name in before]
        refused: BulkRefused | None = None
        try:
            await staged.service.scale_many(Bulk((*items, BulkItem(staged.ref("absent"), SetTo(0)))))
        except BulkRefused as error:
            refused = error
        assert refused is not None
        assert [ref.name for ref, _ in refused.items] == ["absent"]
        assert staged.gateway.writes == 0
        plan = await staged.service.scale_many(staged.all(SetTo(4)), dry_run=True)
        assert plan.complete
        assert await staged.truth() == before


async def test_the_plan_shows_what_admission_would_refuse(control_plane: ControlPlane, tmp_path: Path) -> None:
    async with shop(control_plane, tmp_path, 3) as staged:
        rule = {"expression": "object.spec.replicas != 4", "message": "not four"}
        with policy(control_plane, staged.namespace, "d-001", [rule]):
            plan = await staged.service.scale_many(staged.all(SetTo(4)), dry_run=True)
            refused = [each for each in plan.items if each.outcome is ItemOutcome.FAILED]
            assert len(refused) == 3
            assert all("not four" in str(each.error) for each in refused)
            assert {each.written for each in plan.items} == {False}
        assert {count for count, _, _ in (await staged.truth()).values()} == {0}


async def test_each_item_says_what_the_cluster_has_whatever_breaks(control_plane: ControlPlane, tmp_path: Path) -> None:
    """Connections that break before and after storing, throttling, and an API server that goes away in the middle."""
    async with shop(control_plane, tmp_path, 40) as staged:
        rounds: list[tuple[Mapping[str, Fault], OnError]] = [
            ({"d-011": "after"}, OnError.CONTINUE),
            ({"d-012": "before"}, OnError.CONTINUE),
            ({"d-013": "throttled"}, OnError.ABORT),
            ({"d-014": "gone"}, OnError.CONTINUE),
        ]
        for wanted, (faults, on_error) in enumerate(rounds, start=1):
            before = await staged.truth()
            staged.gateway.faults = faults
            result = await staged.service.scale_many(staged.all(SetTo(wanted), on_error))
            await staged.gateway.come_back()
            assert_true(result, {name: count for name, (count, _, _) in before.items()}, {
                name: count for name, (count, _, _) in (await staged.truth()).items()
            })  # fmt: skip
            assert result.items[-1].outcome is ItemOutcome.SKIPPED
            (broken,) = faults
            (failed,) = [each for each in result.items if each.ref.name == broken]
            assert failed.outcome is ItemOutcome.FAILED
            if faults[broken] == "after":
                assert failed.written is None
                assert (await staged.truth())[broken][0] == wanted


def assert_true(result: BulkResult, before: Mapping[str, int], now: Mapping[str, int]) -> None:
    """Compare what is said to be written with what the cluster has."""
    assert {each.ref.name for each in result.items} == set(now)
    for each in result.items:
        name = each.ref.name
        if each.written is True:
            assert now[name] == each.planned.after
        elif each.written is False:
            assert now[name] == before[name]
        else:
            assert now[name] in {before[name], each.planned.after}
