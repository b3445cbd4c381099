"""Parking by real kdm processes on a real API server: killed between any two requests, racing, and over a night."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, Final, Literal, get_args

import aiohttp
import httpx
import pytest
from aiohttp import web
from attrs import frozen

from .api_gateway import ApiGateway, administrator
from .controlplane.cluster import ControlPlane
from .kdm_fork import KdmFork
from .kdm_process import KdmProcess, client_context
from .workloads import create_deployments, deployment

NIGHTLY_POINTS: Final = 200
AT_A_TIME: Final = 2
"""How many kdm are being killed at the same time. Their records are in one ConfigMap."""

STEPS: Final = 6
"""How many requests a park and a restore of one Deployment make of the API server, where nobody interferes."""

Fate = Literal["never sent", "sent, and killed before it arrives", "answered, and killed then"]
"""What becomes of the request at which a kdm is killed."""

FATES: Final[tuple[Fate, ...]] = get_args(Fate)
_FIELDS: Final = ("accept", "content-type")


@frozen
class Point:
    """Where a kdm is killed.

    Attributes:
        number: Which one it is.
        request: At which of its requests.
        fate: What becomes of that.
        counts: The counts of the Deployments that it parks and restores: one by itself, several in a batch.
        parks_again: Whether what it began is parked once more by another kdm, or restored.
    """

    number: int
    request: int
    fate: Fate
    counts: tuple[int, ...]
    parks_again: bool

    @property
    def names(self) -> dict[str, int]:
        """The counts by the Deployments' names."""
        return {f"web-{self.number}-{each}": count for each, count in enumerate(self.counts)}


EVERY_REQUEST: Final = tuple(
    Point(each, each, FATES[each % 3], (each % 9 + 1,), parks_again=each % 2 == 0) for each in range(STEPS + 1)
)
"""Each request of one Deployment's park and restore once, and after all of them."""


def random_points(rng: Random) -> Iterator[Point]:
    """Yield points: of one Deployment as often as of a batch."""
    for number in range(NIGHTLY_POINTS):
        counts = tuple(rng.randint(1, 9) for _ in range(rng.choice((1, 1, 2, 3))))
        yield Point(
            number, rng.randrange(STEPS * len(counts)), rng.choice(FATES), counts, parks_again=rng.random() < 0.5
        )


class Killing(ApiGateway):
    """Passes requests to the API server, and kills a kdm at one of them. What was sent until then arrives.

    Attributes:
        victim: Which kdm.
        left: How many requests of parking pass until then.
        fate: What becomes of that one.
        killed: How many kdm have been killed.
    """

    def __init__(self, upstream: aiohttp.ClientSession) -> None:
        super().__init__(upstream)
        self.victim: KdmProcess | None = None
        self.left = 0
        self.fate: Fate = FATES[0]
        self.killed = 0
        self._sent: set[asyncio.Task[web.Response]] = set()

    async def settle(self) -> None:
        """Wait until everything that was sent has arrived."""
        while self._sent:
            await asyncio.wait(self._sent)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        # of parking: the ConfigMaps one by one, and the writes. What kdm watches is apart from it
        if request.method not in {"PATCH", "POST"} and "/configmaps/" not in request.path:
            return await super()._handle(request)
        body = await request.read()
        self.left -= 1
        victim = None
        if self.left < 0:
            victim, self.victim = self.victim, None
        if victim is not None and self.fate != FATES[2]:
            self._kill(victim)
            if self.fate == FATES[0]:
                return web.Response()
        sent = asyncio.create_task(self._send(request, body))
        self._sent.add(sent)
        sent.add_done_callback(self._sent.discard)
        answer = await asyncio.shield(sent)
        if victim is not None and self.fate == FATES[2]:
            self._kill(victim)
        return answer

    def _kill(self, victim: KdmProcess) -> None:
        victim.kill()
        self.killed += 1

    async def _send(self, request: web.Request, body: bytes) -> web.Response:
        fields = {name: request.headers[name] for name in _FIELDS if name in request.headers}
        asked = self._upstream.request(request.method, request.path_qs, headers=fields, data=body or None)
        async with asked as answer:
            return web.Response(status=answer.status, body=await answer.read(), content_type=answer.content_type)


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
        return KdmProcess(self.settings(kubeconfig) | settings, self._directory / f"kdm-{next(self._numbers)}.log")

    def settings(self, kubeconfig: Path | None = None) -> dict[str, str]:
        """Return the settings of a kdm for both namespaces."""
        return {
            "REPOSITORY": "kubernetes",
            "KUBECONFIG": str(kubeconfig or self._plane.kubeconfig),
            "NAMESPACES": self.namespace,
            "PARKING": "configmaps",
            "PARKING_NAMESPACE": self.home,
        }

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
        return self.counts_in(
            json.loads(self._plane.kubectl("get", "configmaps", f"--namespace={self.home}", "-o", "json"))
        )

    def counts_in(self, config_maps: Any) -> dict[str, int]:
        """Return what ConfigMaps remember of this namespace: the counts by name."""
        values = [
            json.loads(text)
            for each in config_maps["items"]
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


def ask(kdm: KdmProcess, method: str, path: str, body: object = None) -> httpx.Response:
    with kdm.client() as client:
        return client.request(method, path, json=body)


class Night:
    """Kills kdm on the way, one after the other on several ways at a time, while one stays that ends what they began.

    Args:
        shop: Where the Deployments are.
        api: The API server.
        kdm: The kdm that stays.
    """

    def __init__(self, shop: Shop, api: aiohttp.ClientSession, kdm: httpx.AsyncClient) -> None:
        self._shop = shop
        self._api = api
        self._kdm = kdm

    async def run(self, points: Iterator[Point], directories: list[Path]) -> int:
        """Kill a kdm at each point, as many at a time as there are directories. Returns how many were killed."""
        async with asyncio.TaskGroup() as group:
            ways = [group.create_task(self._one_way(points, each)) for each in directories]
        return sum(each.result() for each in ways)

    async def _one_way(self, points: Iterator[Point], directory: Path) -> int:
        async with Killing(self._api).serving() as killing:
            assert isinstance(killing, Killing)
            for point in points:
                await self._kill_at(point, killing, directory)
            return killing.killed

    async def _kill_at(self, point: Point, killing: Killing, directory: Path) -> None:
        for name, count in point.names.items():
            await self._create(name, count, point)
        victim = KdmFork(self._shop.settings(killing.kubeconfig(directory)), directory / f"{point.number}.log")
        await asyncio.to_thread(victim.__enter__)
        try:
            await asyncio.to_thread(victim.wait_ready)
            killing.left, killing.fate, killing.victim = point.request, point.fate, victim
            async with httpx.AsyncClient(base_url=victim.url, verify=client_context("dev-admin"), timeout=30) as client:
                with suppress(httpx.TransportError):  # it was killed
                    for verb in ("park", "restore"):
                        await self._ask(client, verb, "night", point)
            killing.victim = None
        finally:
            await asyncio.to_thread(victim.kill)
        await killing.settle()
        remembered = await self._remembered()
        for name, count in point.names.items():
            found = await self._count(name)
            assert found in {0, count}, point
            assert found == count or remembered.get(name) == count, f"{point}: the count of {name} is lost"
        await self._end(point)

    async def _end(self, point: Point) -> None:
        """Let the kdm that stays end it: it finds every count, whatever it does first."""
        if not point.parks_again:
            await self._ask(self._kdm, "restore", None, point)
            await self._expect(point, parked=False)
        await self._ask(self._kdm, "park", "next", point)
        await self._expect(point, parked=True)
        await self._ask(self._kdm, "restore", None, point)
        await self._expect(point, parked=False)
        assert not point.names.keys() & (await self._remembered()).keys(), point

    async def _expect(self, point: Point, *, parked: bool) -> None:
        for name, count in point.names.items():
            assert await self._count(name) == (0 if parked else count), (point, name)
        if parked:
            remembered = await self._remembered()
            assert {name: remembered.get(name) for name in point.names} == point.names, point

    async def _ask(self, kdm: httpx.AsyncClient, verb: str, park_id: str | None, point: Point) -> None:
        batch = {"parkId": park_id} if park_id else {}
        if len(point.counts) > 1:
            select = {"namespace": self._shop.namespace, "labelSelector": f"point=p{point.number}"}
            answer = await kdm.post("/api/v2/scale", json={"select": select, verb: batch or True})
            assert answer.status_code == 200, f"{point}: {answer.text}"
            assert answer.json()["summary"]["total"] == len(point.counts), f"{point}: {answer.text}"
            return
        (name,) = point.names
        answer = await kdm.post(self._shop.path(name, verb), json=batch)
        assert answer.status_code == 200 or answer.json()["code"] == "not-parked", f"{point}: {answer.text}"

    async def _create(self, name: str, count: int, point: Point) -> None:
        manifest = deployment(name, count, labels={"point": f"p{point.number}"})
        path = f"/apis/apps/v1/namespaces/{self._shop.namespace}/deployments"
        async with self._api.post(path, json=manifest) as answer:
            assert answer.status == 201, await answer.text()

    async def _count(self, name: str) -> int:
        found = await self._get(f"/apis/apps/v1/namespaces/{self._shop.namespace}/deployments/{name}")
        count: int = found["spec"]["replicas"]
        return count

    async def _remembered(self) -> dict[str, int]:
        return self._shop.counts_in(await self._get(f"/api/v1/namespaces/{self._shop.home}/configmaps"))

    async def _get(self, path: str) -> Any:
        async with self._api.get(path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()


async def kill_at(shop: Shop, plane: ControlPlane, directory: Path, points: Iterator[Point]) -> int:
    """Kill a kdm at each point, while another one stays. Returns how many were killed."""
    directories = [directory / f"way-{each}" for each in range(AT_A_TIME)]
    for each in directories:
        each.mkdir()
    with shop.kdm() as kdm:
        await asyncio.to_thread(kdm.wait_ready)
        async with (
            administrator(plane.kubeconfig.read_text()) as api,
            httpx.AsyncClient(base_url=kdm.url, verify=client_context("dev-admin"), timeout=30) as client,
        ):
            return await Night(shop, api, client).run(points, directories)


async def test_a_kdm_killed_between_any_two_requests_loses_no_count(
    shop: Shop, control_plane: ControlPlane, tmp_path: Path
) -> None:
    assert await kill_at(shop, control_plane, tmp_path, iter(EVERY_REQUEST)) >= STEPS


@pytest.mark.nightly
@pytest.mark.timeout(1800)
async def test_a_kdm_killed_at_many_points_loses_no_count(
    shop: Shop, control_plane: ControlPlane, tmp_path: Path
) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"Random({seed})")  # shown where it fails
    killed = await kill_at(shop, control_plane, tmp_path, random_points(Random(seed)))  # noqa: S311
    print(f"{killed} of {NIGHTLY_POINTS} were killed before they had done all")
    assert killed > NIGHTLY_POINTS * 9 // 10, "most are to be killed in the middle"


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
            while ask(kdm, "GET", "/api/v2/parked").status_code != 200:
                pass  # it has not read the ConfigMaps yet
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
