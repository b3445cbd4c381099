"""API v2's writes on a real API server, over mutual TLS: what concurrent clients, retries and a bad network come to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import aiohttp
import httpx
import pytest

from .api_gateway import administrator
from .controlplane.access import Request
from .controlplane.cluster import ControlPlane
from .kdm_process import KdmProcess, client_context, wait_until
from .proxy import Direction, Proxy
from .workloads import create_deployments, deployment

PATCH = Request("PATCH", "deployments", "scale")
CLIENTS = 50


class Web:
    """A Deployment, and the kdm that it is scaled through."""

    def __init__(self, kdm: KdmProcess, plane: ControlPlane, proxy: Proxy, namespace: str) -> None:
        self.kdm = kdm
        self.plane = plane
        self.proxy = proxy
        self.namespace = namespace
        self.path = f"/api/v2/namespaces/{namespace}/deployments/web"

    @property
    def stored(self) -> int:
        """The count that the cluster has."""
        shown = self.plane.kubectl("get", "deployment", "web", "-n", self.namespace, "-o", "json")
        return int(json.loads(shown)["spec"]["replicas"])

    @property
    def patches(self) -> int:
        """How many writes of a count the API server has completed."""
        return self.plane.request_counts()[PATCH]

    async def at_once(self, method: str, path: str, body: object, **headers: str) -> list[httpx.Response]:
        """Ask the same over many connections at once."""
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(
            base_url=self.kdm.url, verify=client_context("dev-admin"), trust_env=False, timeout=60, limits=limits
        ) as client:
            asking = (client.request(method, self.path + path, json=body, headers=headers) for _ in range(CLIENTS))
            return await asyncio.gather(*asking)

    @asynccontextmanager
    async def status_written_at_full_speed(self) -> AsyncIterator[list[int]]:
        """Have somebody change the Deployment's status all the time, as its controller does while Pods start."""
        written: list[int] = []
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/web/status"

        async def write(api: aiohttp.ClientSession) -> None:
            headers = {"Content-Type": "application/merge-patch+json"}
            while True:
                body = json.dumps({"status": {"replicas": len(written) % 100, "observedGeneration": 1}})
                async with api.patch(path, data=body, headers=headers) as answer:
                    written.append(answer.status)

        async with administrator(self.plane.kubeconfig.read_text()) as api:
            writing = asyncio.ensure_future(write(api))
            try:
                yield written
            finally:
                writing.cancel()
                with suppress(asyncio.CancelledError):
                    await writing


@pytest.fixture
def web(control_plane: ControlPlane, tmp_path: Path) -> Iterator[Web]:
    with control_plane.fresh_namespace() as namespace, Proxy.to(control_plane.kubeconfig) as proxy:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("web", 3)])
        settings = {
            "REPOSITORY": "kubernetes",
            "KUBECONFIG": str(proxy.kubeconfig(control_plane.kubeconfig, tmp_path)),
            "WRITE_TIMEOUT_S": "2",
        }
        with KdmProcess(settings, tmp_path / "log") as kdm:
            kdm.wait_ready()
            with kdm.client() as client:
                found = Web(kdm, control_plane, proxy, namespace)
                wait_until(lambda: client.get(found.path).status_code == 200)
            yield found


async def test_of_50_puts_with_one_if_match_one_wins_and_49_are_412(web: Web) -> None:
    with web.kdm.client() as client:
        tag = client.get(f"{web.path}/replicas").headers["etag"]
    answers = await web.at_once("PUT", "/replicas", {"replicas": 7}, **{"If-Match": tag})
    assert sorted(each.status_code for each in answers) == [200] + [412] * (CLIENTS - 1)
    assert web.stored == 7


async def test_50_times_adjust_by_one_is_exactly_50_more_beside_a_writer_of_the_status(web: Web) -> None:
    async with web.status_written_at_full_speed() as written:
        answers = await web.at_once("POST", "/adjust", {"delta": 1})
        assert len(written) > CLIENTS / 10
    assert [each.text for each in answers if each.status_code != 200] == []
    assert sorted(each.json()["replicas"]["desired"] for each in answers) == list(range(4, 4 + CLIENTS))
    assert web.stored == 3 + CLIENTS
    assert set(written) == {200}


async def test_a_put_with_if_match_meets_no_conflict_with_a_writer_of_the_status(web: Web) -> None:
    with web.kdm.client() as client:
        async with web.status_written_at_full_speed():
            for count in range(4, 24):
                seen = await asyncio.to_thread(client.get, f"{web.path}/replicas")
                answer = await asyncio.to_thread(
                    client.put,
                    f"{web.path}/replicas",
                    json={"replicas": count, "currentReplicas": count - 1},
                    headers={"If-Match": seen.headers["etag"]},
                )
                if answer.status_code == 412:  # the watch has brought the true generation of our own last write
                    assert answer.json()["current"]["replicas"] == count - 1
                    retag = {"If-Match": answer.json()["current"]["etag"]}
                    answer = await asyncio.to_thread(
                        client.put, f"{web.path}/replicas", json={"replicas": count}, headers=retag
                    )
                assert answer.status_code == 200, answer.text
    assert web.stored == 23


def test_a_replayed_key_is_one_patch_at_the_api_server(web: Web) -> None:
    before = web.patches
    with web.kdm.client() as client:
        answers = [
            client.post(f"{web.path}/adjust", json={"delta": 2}, headers={"Idempotency-Key": '"one"'}) for _ in range(5)
        ]
    assert {(each.status_code, each.text) for each in answers} == {(200, answers[0].text)}
    assert [each.headers.get("Idempotency-Replayed") for each in answers] == [None, *["true"] * 4]
    assert (web.stored, web.patches - before) == (5, 1)


def test_a_504_in_the_middle_and_its_retry_add_no_second_step(web: Web) -> None:
    """The write arrives, its answer is swallowed: kdm says that it does not know, and does it once."""
    key = {"Idempotency-Key": '"one"'}
    with web.kdm.client() as client:
        assert client.put(f"{web.path}/replicas", json={"replicas": 3}).status_code == 200  # there is a connection now
        before = web.patches
        web.proxy.black_hole(Direction.TO_CLIENT)
        first = client.post(f"{web.path}/adjust", json={"delta": 2}, headers=key)
        assert first.status_code == 504, first.text
        assert (first.json()["code"], first.json()["written"]) == ("cluster-timeout", None)
        web.proxy.heal()
        again = client.post(f"{web.path}/adjust", json={"delta": 2}, headers=key)
        assert (again.status_code, again.text) == (504, first.text)
        assert again.headers["Idempotency-Replayed"] == "true"
        wait_until(lambda: client.get(web.path).json()["replicas"]["desired"] == 5)
    assert (web.stored, web.patches - before) == (5, 1)


def test_a_dry_run_is_the_clusters_own_and_stores_nothing(web: Web) -> None:
    with web.kdm.client() as client:
        answer = client.put(f"{web.path}/replicas", params={"dryRun": "All"}, json={"replicas": 9})
        assert (answer.status_code, answer.json()["replicas"]) == (200, {"previous": 3, "desired": 9})
        assert client.get(web.path).json()["replicas"]["desired"] == 3
    assert web.stored == 3
