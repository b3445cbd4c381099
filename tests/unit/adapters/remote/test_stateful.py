"""The remote repository against the model, through random histories; and with its connections cut at random."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule

from kdm_core.testing.abilities import Ability
from kdm_core.testing.following import DEADLINE_S
from kdm_core.testing.stateful import RepositoryStateMachine
from unit.adapters.remote.harness import Gated, RemoteHarness, gated, remote_harness

QUICK = settings(max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class RemoteMachine(RepositoryStateMachine):
    lacks = frozenset({Ability.ANNOTATE})
    kdm: ClassVar[Gated]
    _harness: RemoteHarness

    def open(self) -> AbstractAsyncContextManager[RemoteHarness]:
        return remote_harness(self.kdm, write_timeout_s=DEADLINE_S)  # no step fails because the machine is slow


class CutMachine(RemoteMachine):
    """Each connection may end at any time, in the middle of whatever is said."""

    @rule()
    def cut(self) -> None:
        """The connections of all streams are cut."""
        self._run(self._harness.cut_watch())
        self._settle()


class RestartMachine(RemoteMachine):
    """The kdm may stop and start again: it knows no place of before."""

    @rule()
    def restart(self) -> None:
        """The kdm is started again."""
        if not self._broken:
            self._run(self._harness.restart())
            self._settle()


@pytest.fixture(autouse=True, scope="module")
def kdm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with gated(tmp_path_factory.mktemp("kdm")) as RemoteMachine.kdm:
        yield


@pytest.mark.parametrize("interrupt", [RemoteHarness.cut_watch, RemoteHarness.restart])
async def test_an_interruption_has_been_noticed_before_what_follows_is_waited_for(
    interrupt: Callable[[RemoteHarness], Awaitable[None]],
) -> None:
    kdm = RemoteMachine.kdm
    async with remote_harness(kdm) as harness:
        before = kdm.do(lambda: set(kdm.gate.streams))

        await interrupt(harness)
        assert not harness.repository.sync_status().connected

        await harness.settle()
        assert harness.repository.sync_status().healthy
        assert before.isdisjoint(kdm.do(lambda: set(kdm.gate.streams)))


TestRemoteMachine = RemoteMachine.TestCase
TestRemoteMachine.settings = QUICK
TestCutMachine = CutMachine.TestCase
TestCutMachine.settings = QUICK
TestRestartMachine = RestartMachine.TestCase
TestRestartMachine.settings = settings(QUICK, max_examples=8)
