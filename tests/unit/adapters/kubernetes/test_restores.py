"""A cluster that goes back under a running repository, over the wire: noticed, read again, and honest meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
import uvloop

from kdm_adapters.kubernetes import ClusterConfig, KubernetesDeploymentRepository, Tuning
from kdm_core.model import ChangeKind, DeploymentRef, Trouble
from unit.adapters.kubernetes.api_server import DEADLINE_S, Answer, ApiServer, Reply, answering, hanging, refusing
from unit.adapters.kubernetes.conftest import MakeRepository, following, until, until_held
from unit.adapters.kubernetes.watch.state_machine_driver import Recorder

WEB = DeploymentRef("shop", "web")


async def live_on(server: ApiServer, repository: KubernetesDeploymentRepository) -> int:
    """Let a cluster have a past that is seen. Returns the version of its backup."""
    await server.change(lambda c: c.create("web"), lambda c: c.create("doomed"))
    backup = server.cluster.version
    await server.change(lambda c: c.create("late"), lambda c: c.delete("doomed"))
    for replicas in range(2, 9):
        await server.change(lambda c, r=replicas: c.scale("web", r))  # type: ignore[misc]
    await until_held(repository, web=8, late=1)
    return backup


async def restore(server: ApiServer, backup: int) -> None:
    """Restart the server on the backup."""
    await server.stop()
    server.cluster.restore(backup)
    await server.start()


@pytest.mark.parametrize("watch_list", [True, False])
async def test_a_restored_cluster_is_read_again_within_a_moment(
    make: MakeRepository, server: ApiServer, *, watch_list: bool
) -> None:
    told = Recorder()
    async with make(instrument=told, tuning=Tuning(watch_list=watch_list)) as repository:
        await repository.wait_synced(DEADLINE_S)
        backup = await live_on(server, repository)
        await restore(server, backup)
        await until(lambda: not repository.sync_status().connected)
        await until(lambda: repository.sync_status().healthy)
        assert {each.ref.name: each.replicas.desired for each in repository.list()} == {"web": 1, "doomed": 1}
        assert "went-back" in told.ends
        await server.change(lambda c: c.scale("web", 3))
        await until_held(repository, web=3, doomed=1)


async def test_until_that_is_noticed_nothing_is_claimed(make: MakeRepository, server: ApiServer) -> None:
    """The watch is accepted, and silent. Whoever asks is not told that all is well."""
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        backup = await live_on(server, repository)
        asked = asyncio.Event()

        async def later(reply: Reply) -> None:
            asked.set()
            await released.wait()
            await server.answer(reply)

        released = asyncio.Event()
        server.faults["version"].append(later)
        await restore(server, backup)
        await asyncio.wait_for(asked.wait(), DEADLINE_S)
        assert server.watches, "the watch is open"
        status = repository.sync_status()
        assert not status.connected
        assert not status.healthy
        assert status.sources[0].trouble is Trouble.INTERRUPTED
        released.set()
        await until_held(repository, web=1, doomed=1)


async def test_followers_are_told_the_difference(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        backup = await live_on(server, repository)
        async with following(repository) as changes:
            while (await anext(changes)).kind is not ChangeKind.SYNCED:
                pass
            await restore(server, backup)
            told = set()
            for _ in range(3):
                change = await anext(changes)
                assert change.deployment is not None
                told.add((change.kind, change.deployment.ref.name))
        assert told == {(ChangeKind.DELETED, "late"), (ChangeKind.ADDED, "doomed"), (ChangeKind.MODIFIED, "web")}


async def test_own_writes_are_visible_though_the_watch_says_nothing(make: MakeRepository, server: ApiServer) -> None:
    """Nobody answers what the newest version is: the write's own answer is the sign."""
    server.standing_faults["version"] = hanging
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        backup = await live_on(server, repository)
        await restore(server, backup)
        await server.watch()
        for replicas in (4, 5, 6):
            await repository.set_replicas(WEB, replicas)
            assert repository.get(WEB).replicas.desired == replicas
        await until_held(repository, web=6, doomed=1)


@pytest.mark.parametrize(
    "fault",
    [
        refusing(429, "TooManyRequests"),
        refusing(403, "Forbidden", "nobody cannot list resource"),
        refusing(500, "InternalError"),
        answering(200, b"<html>"),
        answering(200, b'{"kind":"DeploymentList","metadata":{},"items":[]}'),
    ],
)
async def test_the_newest_version_is_asked_for_until_it_is_told(
    make: MakeRepository, server: ApiServer, fault: Answer
) -> None:
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        backup = await live_on(server, repository)
        server.faults["version"].extend([fault] * 3)
        await restore(server, backup)
        await until_held(repository, web=1, doomed=1)
        assert server.count("version") >= 4


async def test_a_resumed_watch_costs_one_small_list_and_a_first_one_none(
    make: MakeRepository, server: ApiServer
) -> None:
    async with make(label_selector="team=a") as repository:
        await repository.wait_synced(DEADLINE_S)
        watch = await server.watch()
        assert server.count("version") == 0
        await watch.end()
        await server.watch(2)
        await server.until(lambda: server.count("version") == 1)
        assert server.queries("version") == [{"limit": "1"}], "consistent, and without the selector"
        await until(lambda: repository.sync_status().healthy)


async def test_a_server_that_is_behind_is_not_taken_for_a_restored_one(make: MakeRepository, server: ApiServer) -> None:
    """Its watch cache has not come as far as the held version, so the watch is silent for a while; etcd has."""
    told = Recorder()
    async with make(instrument=told) as repository:
        await repository.wait_synced(DEADLINE_S)
        await live_on(server, repository)
        watch = await server.watch()
        await watch.end()
        watch = await server.watch(2)
        watch.cursor += 3  # it tells nothing before that
        await until(lambda: repository.sync_status().healthy)
        await server.change(*[lambda c, n=n: c.scale("web", n) for n in range(20, 25)])
        await until(lambda: repository.get(WEB).replicas.desired == 24)
        assert told.lists == [("watch-list", "initial")]
        assert "went-back" not in told.ends


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_on_either_event_loop(loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path) -> None:
    """What is asked beside a watch ends with it, and with the repository, on both."""

    async def restored() -> None:
        async with ApiServer().running() as server:
            server.faults["version"].append(hanging)  # it is under way when the watch ends
            repository = KubernetesDeploymentRepository(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path)))
            async with repository:
                await repository.wait_synced(DEADLINE_S)
                backup = await live_on(server, repository)
                await (await server.watch()).end()
                await server.until(lambda: server.count("version"))
                await restore(server, backup)
                await until_held(repository, web=1, doomed=1)
                await server.watch()
                await server.change(lambda c: c.scale("web", 2))
                await until_held(repository, web=2, doomed=1)
                server.faults["version"].append(hanging)
                asked = server.count("version")
                await (await server.watch()).end()
                await server.until(lambda: server.count("version") > asked)
            assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("kdm-verify")]

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(restored())
