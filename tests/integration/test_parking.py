"""Parking by real kdm processes on a real API server: killed between any two requests, racing, and over a night."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from aiohttp import web

from .api_gateway import ApiGateway, administrator
from .controlplane.cluster import ControlPlane
from .kdm_process import KdmProcess
from .workloads import create_deployments, deployment

POINTS: Final = 8
NIGHTLY_POINTS: Final = 200
STEPS: Final = 7
"""How many requests a park and a restore make of the API server."""


class Killing(ApiGateway):
    """Passes requests to the API server, and kills a kdm at one of them.

    Attributes:
        victim: Which kdm.
        left: How many requests of parking pass until then.
        after: Whether that request passes, too, and only its answer is lost.
    """

    victim: KdmProcess | None = None
    left = 0
    after = False

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        # of parking: the ConfigMaps one by one, and the writes. What kdm watches is apart from it
        counts = request.method in {"PATCH", "POST"} or "/configmaps/" in request.path
        if self.victim is None or not counts:
            return await super()._handle(request)
        self.left -= 1
        if self.left >= 0:
            return await super()._handle(request)
        victim, self.victim = self.victim, None
        if not self.after:
            victim.kill()
        try:
            return await super()._handle(request)
        finally:
            if self.after:
                victim.kill()
            elif request.transport is not None:
                request.transport.abort()


class Shop:
    """A namespace with Deployments, another one for the ConfigMaps, and kdm processes for both."""

    def __init__(self, plane: ControlPlane, namespace: str, home: str, directory: Path) -> None:
        self._plane = plane
        self._directory = directory
        self._numbers = iter(range(10_000))
        self.namespace = namespace
        self.home = home

    def kdm(self, kubeconfig: Path | None = None, **settings: str) -> KdmProcess:
        """Return a kdm to start."""
        return KdmProcess(
            {
                "REPOSITORY": "kubernetes",
                "KUBECONFIG": str(kubeconfig or self._plane.kubeconfig),
                "NAMESPACES": self.namespace,
                "PARKING": "configmaps",
                "PARKING_NAMESPACE": self.home,
                **settings,
            },
            self._directory / f"kdm-{next(self._numbers)}.log",
        )

    def create(self, name: str, replicas: int, **labels: str) -> None:
        create_deployments(self._plane.kubeconfig, self.namespace, [deployment(name, replicas, labels=labels)])

    def scale(self, name: str, replicas: int) -> None:
        self._plane.kubectl("scale", f"--namespace={self.namespace}", f"deployment/{name}", f"--replicas={replicas}")

    def count(self, name: str) -> int:
        found = self._plane.kubectl("get", "deployment", name, f"--namespace={self.namespace}", "-o", "json")
        count: int = json.loads(found)["spec"].get("replicas", 1)
        return count

    def remembered(self) -> dict[str, int]:
        """Return what is remembered, as it is stored: the counts by name."""
        found = json.loads(self._plane.kubectl("get", "configmaps", f"--namespace={self.home}", "-o", "json"))
        values = [
            json.loads(text)
            for each in found["items"]
            if each["metadata"]["name"].startswith("kdm-parked-")
            for text in each.get("data", {}).values()
        ]
        return {each["name"]: each["replicas"] for each in values if each["namespace"] == self.namespace}

    def path(self, name: str, verb: str) -> str:
        return f"/api/v2/namespaces/{self.namespace}/deployments/{name}/{verb}"


@pytest.fixture
def shop(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Shop]:
    with control_plane.fresh_namespace() as namespace, control_plane.fresh_namespace() as home:
        yield Shop(control_plane, namespace, home, tmp_path)


@asynccontextmanager
async def gateway(plane: ControlPlane) -> AsyncIterator[Killing]:
    async with administrator(plane.kubeconfig.read_text()) as api, Killing(api).serving() as killing:
        assert isinstance(killing, Killing)
        yield killing


def ask(kdm: KdmProcess, method: str, path: str, body: object = None) -> httpx.Response:
    with kdm.client() as client:
        return client.request(method, path, json=body)


async def kill_somewhere(shop: Shop, killing: Killing, kdm: KdmProcess, directory: Path, number: int) -> None:
    """Park and restore a Deployment by a kdm that is killed on the way, and let another one end what it began."""
    name, replicas = f"web-{number}", number % 9 + 1
    killing.left, killing.after = number % STEPS, bool(number // STEPS % 2)
    point = f"{name}: killed {'after' if killing.after else 'before'} request {killing.left + 1}"
    await asyncio.to_thread(shop.create, name, replicas)

    def begin() -> None:
        with shop.kdm(killing.kubeconfig(directory)) as victim:
            victim.wait_ready()
            killing.victim = victim
            with suppress(httpx.TransportError):  # it was killed
                ask(victim, "POST", shop.path(name, "park"), {"parkId": "night"})
                ask(victim, "POST", shop.path(name, "restore"), {"parkId": "night"})
            killing.victim = None

    await asyncio.to_thread(begin)
    count, remembered = await asyncio.gather(asyncio.to_thread(shop.count, name), asyncio.to_thread(shop.remembered))
    assert count in {0, replicas}, point
    assert count == replicas or remembered.get(name) == replicas, f"{point}: the count is lost"

    def end() -> None:
        again = ask(kdm, "POST", shop.path(name, "restore"), {})
        assert again.status_code == 200 or again.json()["code"] == "not-parked", f"{point}: {again.text}"
        assert shop.count(name) == replicas, point
        parked = ask(kdm, "POST", shop.path(name, "park"), {"parkId": "next"}).json()
        assert (parked["replicas"], parked["parked"]["parkId"]) == ({"previous": replicas, "desired": 0}, "next"), point
        assert shop.remembered()[name] == replicas, point
        assert ask(kdm, "POST", shop.path(name, "restore"), {"parkId": "next"}).status_code == 200, point
        assert shop.count(name) == replicas, point
        assert name not in shop.remembered(), point

    await asyncio.to_thread(end)


async def kill_at(shop: Shop, plane: ControlPlane, directory: Path, points: int) -> None:
    """Kill a kdm at so many points, one after the other, while another one stays."""
    async with gateway(plane) as killing:
        with shop.kdm() as kdm:
            await asyncio.to_thread(kdm.wait_ready)
            for number in range(points):
                await kill_somewhere(shop, killing, kdm, directory, number)


async def test_a_kdm_killed_between_any_two_requests_loses_no_count(
    shop: Shop, control_plane: ControlPlane, tmp_path: Path
) -> None:
    await kill_at(shop, control_plane, tmp_path, POINTS)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
async def test_a_kdm_killed_at_many_points_loses_no_count(
    shop: Shop, control_plane: ControlPlane, tmp_path: Path
) -> None:
    await kill_at(shop, control_plane, tmp_path, NIGHTLY_POINTS)


def test_two_kdm_that_race_agree(shop: Shop) -> None:
    """The API server is the arbiter: one record, one count, and both show the same."""
    with shop.kdm() as one, shop.kdm() as two, ThreadPoolExecutor(8) as pool, ExitStack() as stack:
        clients = []
        for kdm in (one, two):
            kdm.wait_ready()
            clients.append(stack.enter_context(kdm.client()))
        for number in range(6):
            name, replicas = f"web-{number}", number + 1
            shop.create(name, replicas)

            def at_once(verb: str, name: str = name) -> list[dict[str, Any]]:
                bodies = [{"parkId": f"{verb}-{each % 2}"} if verb == "park" else {} for each in range(4)]
                sent = [
                    pool.submit(clients[each % 2].post, shop.path(name, verb), json=body)
                    for each, body in enumerate(bodies)
                ]
                return [each.result().json() for each in sent]

            parked = at_once("park")
            assert all(each["replicas"]["desired"] == 0 for each in parked), parked
            assert sum(each["changed"] for each in parked) == 1, parked
            assert len({json.dumps(each["parked"]) for each in parked}) == 1, parked
            assert (shop.count(name), shop.remembered()) == (0, {name: replicas})

            restored = at_once("restore")
            assert {each.get("code", "restored") for each in restored} <= {"restored", "not-parked"}, restored
            assert sum(each.get("changed", False) for each in restored) == 1, restored
            assert (shop.count(name), shop.remembered()) == (replicas, {})


def test_what_one_kdm_parks_another_one_shows_without_asking_the_cluster(
    shop: Shop, control_plane: ControlPlane
) -> None:
    shop.create("web", 3)
    with shop.kdm() as one, shop.kdm() as two:
        for kdm in (one, two):
            kdm.wait_ready()
        ask(one, "POST", shop.path("web", "park"), {"parkId": "night"})
        found: list[Any] = []
        with two.client() as client:
            while not found:
                found = client.get(f"/api/v2/namespaces/{shop.namespace}/parked").json()["items"]
            before = control_plane.request_counts()
            shown = client.get(f"/api/v2/namespaces/{shop.namespace}/deployments/web").json()
            for _ in range(50):
                client.get("/api/v2/parked")
            asked = control_plane.request_counts() - before
        assert [(each["name"], each["replicas"], each["state"]) for each in found] == [("web", 3, "parked")]
        assert (shown["parked"]["replicas"], shown["parked"]["parkId"]) == (3, "night")
        assert not [each for each in asked if "configmaps" in str(each) and "watch" not in str(each)]
        assert "kdm_parked_deployments 1.0" in two.metrics()


def test_a_night_over_an_upgrade(shop: Shop) -> None:
    """At 22:00 tier=dev is parked, then kdm is upgraded; at 06:00 all comes back but what somebody has scaled."""
    counts = {"api": 4, "web": 3, "job": 1, "db": 2}
    for name, replicas in counts.items():
        shop.create(name, replicas, tier="dev" if name != "db" else "prod")
    select = {"namespace": shop.namespace, "labelSelector": "tier=dev"}
    with shop.kdm() as evening:
        evening.wait_ready()
        parked = ask(evening, "POST", "/api/v2/scale", {"select": select, "park": {"parkId": "night"}})
        assert parked.status_code == 200, parked.text
    assert {name: shop.count(name) for name in counts} == {"api": 0, "web": 0, "job": 0, "db": 2}

    shop.scale("web", 2)  # somebody works late

    with shop.kdm() as morning:
        morning.wait_ready()
        batch = ask(morning, "GET", "/api/v2/parked?parkId=night").json()
        assert {each["name"]: each["state"] for each in batch["items"]} == {
            "api": "parked",
            "web": "changed",
            "job": "parked",
        }
        restored = ask(morning, "POST", "/api/v2/scale", {"select": select, "restore": {"parkId": "night"}})
        assert restored.status_code in {200, 207}, restored.text
        named = [each for each in restored.json()["items"] if each["name"] == "web"]
        assert "scaled it since it was parked with 3" in json.dumps(named), named
    assert {name: shop.count(name) for name in counts} == {**counts, "web": 2}
