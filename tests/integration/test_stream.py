"""A stream of a real API server's Deployments, cut at random under load, beside what the API server itself tells."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp

from unit.http.api.stream.history import History
from unit.http.api.stream.streaming import Stream
from unit.http.client import Client

from .api_gateway import administrator
from .controlplane.cluster import ControlPlane
from .kdm_process import KdmProcess, client_context
from .workloads import deployment

CUTS: Final = 500
RATE: Final = 200.0
"""Changes a second, as far as the machine can."""
WRITERS: Final = 64
AT_MOST_S: Final = 240.0
NAMES: Final = [f"d{number}" for number in range(20)]
LAST: Final = "last"
"""The Deployment that is created when nothing else changes any more."""


class Api:
    """The API server's Deployments of one namespace, without kdm."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str) -> None:
        self._session = session
        self._path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        self._versions: dict[str, str] = {}
        self.history = History()
        self.made = 0

    async def watch(self) -> None:
        """Note everything until ``LAST`` is there. A watch that is slow is ended by the API server: go on."""
        version = await self._version()
        while LAST not in self._versions:
            query = {"watch": "true", "resourceVersion": version}
            async with self._session.get(self._path, params=query, timeout=aiohttp.ClientTimeout(None)) as answer:
                answer.raise_for_status()
                async for line in answer.content:
                    version = self._note(json.loads(line))
                    if LAST in self._versions:
                        break

    def _note(self, event: dict[str, Any]) -> str:
        """Note one event, and return its version."""
        metadata: dict[str, str] = event["object"]["metadata"]
        name, version = metadata["name"], metadata["resourceVersion"]
        if event["type"] == "DELETED":
            # As it was last shown: the version of the deletion itself is another.
            self.history.add("deleted", name, self._versions.pop(name))
        else:
            self.history.add(event["type"].lower(), name, version)
            self._versions[name] = version
        return version

    async def change(self, chance: random.Random) -> None:
        """Do something that changes some Deployment."""
        name = chance.choice(NAMES)
        if name not in self._versions:
            await self.create(name)
        elif chance.random() < 0.05:
            await self._done(self._session.delete(f"{self._path}/{name}"))
        else:
            patch = {"spec": {"replicas": chance.randrange(10**6)}}
            fields = {"content-type": "application/merge-patch+json"}
            await self._done(self._session.patch(f"{self._path}/{name}", data=json.dumps(patch), headers=fields))

    async def create(self, name: str) -> None:
        """Create a Deployment."""
        await self._done(self._session.post(self._path, json=deployment(name)))

    async def _done(self, request: Any) -> None:
        async with request as answer:
            if answer.status in {404, 409, 429}:  # another writer was quicker, or there are too many
                return
            answer.raise_for_status()
            self.made += 1

    async def _version(self) -> str:
        async with self._session.get(self._path) as answer:
            return str((await answer.json())["metadata"]["resourceVersion"])


@asynccontextmanager
async def changing(api: Api) -> AsyncIterator[None]:
    """Change things meanwhile, ``RATE`` times a second; at the end, wait for the answers to what was sent."""
    enough = asyncio.Event()

    async def work(number: int) -> None:
        chance = random.Random(number)  # noqa: S311 - no secret
        begin = time.monotonic()
        for done in itertools.count():
            await asyncio.sleep(max(0.0, begin + done * WRITERS / RATE - time.monotonic()))
            if enough.is_set():
                return
            await api.change(chance)

    async with asyncio.TaskGroup() as tasks:
        for number in range(WRITERS):
            tasks.create_task(work(number))
        try:
            yield
        finally:
            enough.set()


async def read(stream: Stream) -> None:
    """Read on and on."""
    while data := await stream.chunk():
        stream.take(data)


async def test_a_stream_cut_500_times_under_load_tells_what_the_api_server_tells(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """No gap and no duplicate, and no reset: all of it fits into what kdm keeps. No Pods: they would be thousands."""
    chance = random.Random(7)  # noqa: S311 - no secret
    settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(control_plane.kubeconfig)}
    kubeconfig = control_plane.kubeconfig.read_text()
    with control_plane.fresh_namespace() as namespace, KdmProcess(settings, tmp_path / "log") as kdm:
        kdm.wait_ready()
        where = urlsplit(kdm.url)
        context = client_context("dev-admin")

        async def connect() -> Client:
            return await Client.open((where.hostname or "", where.port or 0), context)

        async with administrator(kubeconfig) as session:
            api = Api(session, namespace)
            watching = asyncio.create_task(api.watch())
            stream = Stream(connect, f"/api/v2/namespaces/{namespace}/deployments?watch=true")
            await stream.open()
            await stream.until("synced")
            begin = time.monotonic()
            async with changing(api), asyncio.timeout(AT_MOST_S):
                for _ in range(CUTS):
                    await stream.open()
                    reading = asyncio.create_task(read(stream))
                    await asyncio.sleep(chance.random() * 0.05)  # cut at any time
                    reading.cancel()
                    await asyncio.wait([reading])
                    stream.cut()
            took = time.monotonic() - begin
            await api.create(LAST)
            async with asyncio.timeout(60):
                await watching
                await stream.open()
                while (namespace, LAST) not in stream.state:
                    await stream.next()
            assert stream.client is not None
            writer = stream.client.writer
            stream.cut()
            await writer.wait_closed()

    print(f"{CUTS} cuts, {api.made} changes in {took:.0f} s, {len(stream.seen)} events")
    assert api.history.check(stream) == 0
    assert api.made > CUTS
