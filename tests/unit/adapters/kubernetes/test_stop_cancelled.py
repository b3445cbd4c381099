"""Leaving a repository while being cancelled, at every await, by asyncio, uvloop and anyio: nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings
from collections.abc import Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
import uvloop

from kdm_adapters.ending import to_the_end
from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository
from kdm_core import ClusterUnreachable, DeploymentRef
from kdm_core.model import ChangeKind
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer
from unit.adapters.kubernetes.conftest import until

MOMENTS: Final = 12
"""Turns of the event loop after which a cancellation comes: leaving takes fewer."""

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


@pytest.fixture(params=["asyncio", "uvloop", "anyio on asyncio", "anyio on uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine as a program would that was written for that library."""

    def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if request.param.startswith("anyio"):
            anyio.run(main, backend="asyncio", backend_options={"use_uvloop": request.param.endswith("uvloop")})
        else:
            factory = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}[request.param]
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(main())

    return run


@pytest.fixture
def _no_unclosed_session() -> Iterator[None]:
    """Fail if a client session or connection is garbage before it is closed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        yield
        gc.collect()
    assert not [str(each.message) for each in caught]


@asynccontextmanager
async def watching(directory: Path) -> Any:
    """Yield a repository that watches, with a follower at work."""
    async with ApiServer().running() as server:
        repository = KubernetesDeploymentRepository(ClusterConfig(kubeconfig=server.kubeconfig(directory)))
        yield server, repository


async def until_its_end(repository: KubernetesDeploymentRepository) -> list[ChangeKind]:
    return [each.kind async for each in repository.changes()]


async def use(repository: KubernetesDeploymentRepository, leave: asyncio.Event) -> None:
    async with repository:
        await leave.wait()


async def assert_ended(
    server: ApiServer, repository: KubernetesDeploymentRepository, told: asyncio.Task[list[ChangeKind]]
) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await told
    await until(lambda: not server.watches)
    status = repository.sync_status()
    assert (status.connected, status.healthy, status.reason) == (False, False, "stopped")
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("kdm-")]
    with pytest.raises(ClusterUnreachable, match="stopped"):
        await repository.probe()
    with pytest.raises(ClusterUnreachable, match="stopped"):
        await repository.set_replicas(DeploymentRef("shop", "web"), 2)


@pytest.mark.usefixtures("_no_unclosed_session")
@pytest.mark.parametrize("times", [1, 2, 1000])
def test_cancelled_so_often_from_any_moment_on(run: Run, tmp_path: Path, times: int) -> None:
    async def main() -> None:
        for moment in range(MOMENTS):
            async with watching(tmp_path) as (server, repository):
                told = asyncio.create_task(until_its_end(repository))
                leave = asyncio.Event()
                leaving = asyncio.create_task(use(repository, leave))
                await server.watch()
                leave.set()
                for _ in range(moment):
                    await asyncio.sleep(0)
                for _ in range(times):
                    if leaving.cancel():
                        await asyncio.sleep(0)
                await asyncio.wait({leaving}, timeout=DEADLINE_S)
                await assert_ended(server, repository, told)

    run(main)


@pytest.mark.usefixtures("_no_unclosed_session")
def test_a_time_limit_that_cancels_the_body_and_then_its_end(run: Run, tmp_path: Path) -> None:
    """Both asyncio's, cancelled from outside once more, and anyio's, which cancels at every await until it is left."""

    async def asyncios(repository: KubernetesDeploymentRepository, server: ApiServer) -> None:
        async with repository, asyncio.timeout(None) as limit:
            await server.watch()
            limit.reschedule(asyncio.get_running_loop().time())
            await asyncio.Event().wait()

    async def anyios(repository: KubernetesDeploymentRepository, server: ApiServer) -> None:
        with anyio.CancelScope() as scope:
            async with repository:
                await server.watch()
                scope.cancel()
                await asyncio.Event().wait()

    async def anyios_group(repository: KubernetesDeploymentRepository, server: ApiServer) -> None:
        async with anyio.create_task_group() as group, repository:
            await server.watch()
            group.cancel_scope.cancel()
            await asyncio.Event().wait()

    async def main() -> None:
        for body in (asyncios, anyios, anyios_group):
            async with watching(tmp_path) as (server, repository):
                told = asyncio.create_task(until_its_end(repository))
                using = asyncio.create_task(body(repository, server))
                await server.watch()
                await asyncio.sleep(0)
                using.cancel()
                await asyncio.wait({using}, timeout=DEADLINE_S)
                await assert_ended(server, repository, told)

    run(main)


@pytest.mark.usefixtures("_no_unclosed_session")
def test_a_write_under_way_ends_too(run: Run, tmp_path: Path) -> None:
    """And opens no new session for itself after everything was closed."""

    async def main() -> None:
        async with watching(tmp_path) as (server, repository):
            server.cluster.create("web")
            await repository.__aenter__()
            told = asyncio.create_task(until_its_end(repository))
            await server.watch()
            asked: asyncio.Event = asyncio.Event()

            async def hang(reply: object) -> None:
                del reply
                asked.set()
                await asyncio.Event().wait()

            server.faults["patch"].append(hang)
            writing = asyncio.create_task(repository.set_replicas(DeploymentRef("shop", "web"), 3))
            await asked.wait()
            with anyio.move_on_after(0):
                await repository.__aexit__(None, None, None)
            async with asyncio.timeout(DEADLINE_S):
                with pytest.raises(Exception, match=r"\w+"):
                    await writing
            await assert_ended(server, repository, told)

    run(main)


def test_what_runs_to_the_end_raises_what_it_raised() -> None:
    async def fail() -> None:
        await asyncio.sleep(0)
        raise ZeroDivisionError

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await to_the_end(fail())

    asyncio.run(main())


def test_ports_are_free_again(run: Run, tmp_path: Path) -> None:
    """No connection to the cluster outlives the repository, however it was left."""

    async def main() -> None:
        async with watching(tmp_path) as (server, repository):
            with anyio.CancelScope() as scope:
                async with repository:
                    await server.watch()
                    scope.cancel()
            await until(lambda: not server.watches)
            with socket.socket() as probe:
                probe.connect(("127.0.0.1", server.port))

    run(main)
