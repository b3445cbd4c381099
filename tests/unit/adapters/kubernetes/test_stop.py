"""Stopping: at once, whatever the repository is doing, and without leaving anything behind."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core.errors import CacheNotSynced
from unit.adapters.kubernetes.api_server import DEADLINE_S, Answer, ApiServer, Reply, hanging, streaming
from unit.adapters.kubernetes.conftest import MakeRepository, until
from unit.adapters.kubernetes.watch.state_machine_driver import LISTS


async def stop_in_time(repository: KubernetesDeploymentRepository) -> None:
    """Leave a repository, which has to take less than a second and end all its tasks."""
    async with asyncio.timeout(1):
        await repository.__aexit__(None, None, None)
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("kdm-")]


async def half_a_list(reply: Reply) -> None:
    await reply.begin()
    await reply.send(b'{"kind":"DeploymentList","items":[')
    await asyncio.Event().wait()


@pytest.fixture
def full_backlog() -> Iterator[int]:
    """A port at which connecting neither succeeds nor fails: a listener whose backlog is full."""
    with closing(socket.socket()) as listener, closing(socket.socket()) as first, closing(socket.socket()) as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


async def test_before_anything_was_asked(make: MakeRepository) -> None:
    repository = make()
    await repository.__aenter__()
    await stop_in_time(repository)


async def test_while_connecting(full_backlog: int, tmp_path: Path) -> None:
    config = ClusterConfig(kubeconfig=ApiServer(port=full_backlog).kubeconfig(tmp_path))
    repository = KubernetesDeploymentRepository(config)
    await repository.__aenter__()
    with pytest.raises(CacheNotSynced):
        await repository.wait_synced(0.1)
    await stop_in_time(repository)


@pytest.mark.parametrize("verb", ["list", "watch"])
@pytest.mark.parametrize("fault", [hanging, half_a_list, streaming(end=False)])
async def test_while_waiting_for_headers_or_a_body(
    make: MakeRepository, server: ApiServer, verb: str, fault: Answer
) -> None:
    server.faults[verb].append(fault)
    repository = make(tuning=LISTS)
    await repository.__aenter__()
    await server.until(lambda: server.count(verb))
    await asyncio.sleep(0)
    await stop_in_time(repository)


async def test_while_watching(make: MakeRepository, server: ApiServer) -> None:
    repository = make()
    await repository.__aenter__()
    await server.watch()
    await stop_in_time(repository)
    await until(lambda: not server.watches)


async def test_while_backing_off(make: MakeRepository, server: ApiServer) -> None:
    await server.stop()
    asleep = asyncio.Event()

    async def sleep(seconds: float) -> None:
        asleep.set()
        await asyncio.sleep(seconds)

    repository = make(clock=time.monotonic, sleep=sleep)
    await repository.__aenter__()
    async with asyncio.timeout(DEADLINE_S):
        await asleep.wait()
    await stop_in_time(repository)


async def test_followers_end_and_waiters_are_told(make: MakeRepository, server: ApiServer) -> None:
    await server.stop()
    repository = make()
    await repository.__aenter__()

    async def follow() -> list[object]:
        return [change async for change in repository.changes()]

    async with asyncio.TaskGroup() as group:
        followed = group.create_task(follow())
        waiting = group.create_task(wait_in_vain(repository))
        await asyncio.sleep(0)
        await stop_in_time(repository)
    assert followed.result() == []
    assert waiting.result() == "the Deployments have not been read yet: stopped"


async def wait_in_vain(repository: KubernetesDeploymentRepository) -> str:
    with pytest.raises(CacheNotSynced) as caught:
        await repository.wait_synced(DEADLINE_S)
    return str(caught.value)
