"""Whether kdm can do its job."""

from __future__ import annotations

import asyncio

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentService
from unit.core.fixtures import Clock


class ProbedRepository(MemoryDeploymentRepository):
    """Counts the probes, and answers when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.probes = 0
        self.probing = asyncio.Event()
        self.answer = asyncio.Event()
        self.answer.set()

    async def probe(self) -> None:
        self.probes += 1
        self.probing.set()
        await self.answer.wait()
        await super().probe()


async def test_healthy_when_in_sync_and_the_cluster_answers(repository: MemoryDeploymentRepository) -> None:
    health = await DeploymentService(repository).health()
    assert (health.healthy, health.error) == (True, None)
    assert health.sync == repository.sync_status()


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("not_synced", "the first list has not been read yet"),
        ("disconnected", "the watch is broken"),
        ("stale", "past the bound"),
        ("timeout", "did not answer in time"),
    ],
)
async def test_unhealthy_says_why(repository: MemoryDeploymentRepository, fault: str, error: str) -> None:
    setattr(repository.faults, fault, True)
    service = DeploymentService(repository)

    health = await service.health()

    assert not health.healthy
    assert health.error is not None
    assert error in health.error
    assert service.sync_status() == health.sync


async def test_recovers(repository: MemoryDeploymentRepository, clock: Clock) -> None:
    service = DeploymentService(repository, clock=clock)
    repository.faults.timeout = True
    assert not (await service.health()).healthy
    repository.faults.timeout = False
    assert not (await service.health()).healthy, "the answer is still a second old at most"
    clock.now_s += 1.1
    assert (await service.health()).healthy


async def test_many_who_ask_at_once_share_one_probe() -> None:
    async with ProbedRepository() as repository:
        service = DeploymentService(repository)
        repository.answer.clear()
        asking = [asyncio.create_task(service.health()) for _ in range(20)]
        await repository.probing.wait()
        repository.answer.set()
        assert all([(await each).healthy for each in asking])
    assert repository.probes == 1


async def test_the_cluster_is_asked_once_a_second_at_most(clock: Clock) -> None:
    async with ProbedRepository() as repository:
        service = DeploymentService(repository, clock=clock)
        for _ in range(30):
            assert (await service.health()).healthy
            clock.now_s += 0.1
    assert repository.probes <= 3


async def test_a_probe_that_takes_long_is_not_asked_again(clock: Clock) -> None:
    async with ProbedRepository() as repository:
        service = DeploymentService(repository, clock=clock)
        repository.answer.clear()
        first = asyncio.create_task(service.health())
        await repository.probing.wait()
        clock.now_s += 10
        second = asyncio.create_task(service.health())
        await asyncio.sleep(0)  # it joins
        repository.answer.set()
        assert (await first).healthy
        assert (await second).healthy
    assert repository.probes == 1


async def test_who_gives_up_waiting_does_not_spoil_it_for_the_others() -> None:
    async with ProbedRepository() as repository:
        service = DeploymentService(repository)
        repository.answer.clear()
        impatient, patient = (asyncio.create_task(service.health()) for _ in range(2))
        await repository.probing.wait()
        impatient.cancel()
        with pytest.raises(asyncio.CancelledError):
            await impatient
        repository.answer.set()
        assert (await patient).healthy


async def test_a_cache_out_of_sync_needs_no_probe_to_be_unhealthy() -> None:
    async with ProbedRepository() as repository:
        repository.break_watch()
        assert not (await DeploymentService(repository).health()).healthy
    assert repository.probes == 0


async def test_a_probe_that_is_cancelled_makes_unhealthy_and_cancels_nobody(clock: Clock) -> None:
    """Whoever cancelled it: the callers get an answer, and the next one asks again."""
    async with ProbedRepository() as repository:
        service = DeploymentService(repository, clock=clock)
        repository.answer.clear()
        asking = [asyncio.create_task(service.health()) for _ in range(3)]
        await repository.probing.wait()
        (probe,) = (task for task in asyncio.all_tasks() if task.get_name() == "kdm-probe")
        probe.cancel()
        assert {(await each).error for each in asking} == {"the probe of the cluster was cancelled"}
        repository.answer.set()
        assert (await service.health()).healthy, "within the same second"


async def test_a_probe_that_cancels_itself_makes_unhealthy() -> None:
    class Cancelling(MemoryDeploymentRepository):
        async def probe(self) -> None:
            raise asyncio.CancelledError

    async with Cancelling() as repository:
        assert (await DeploymentService(repository).health()).error == "the probe of the cluster was cancelled"


async def test_a_probe_with_a_defect_makes_unhealthy_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(MemoryDeploymentRepository):
        async def probe(self) -> None:
            raise ZeroDivisionError("a bug")

    async with Broken() as repository:
        service = DeploymentService(repository)
        for _ in range(2):
            assert (await service.health()).error == "the probe of the cluster failed: ZeroDivisionError"
    assert "a bug" in caplog.text
