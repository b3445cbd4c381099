"""The remote repository against the model, through random histories; and with its connections cut at random."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule

from kdm_core.testing.abilities import Ability
from kdm_core.testing.harness import RepositoryHarness
from kdm_core.testing.stateful import RepositoryStateMachine
from unit.adapters.remote.harness import Gated, gated, remote_harness

QUICK = settings(max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class RemoteMachine(RepositoryStateMachine):
    lacks = frozenset({Ability.ANNOTATE})
    kdm: ClassVar[Gated]

    def open(self) -> AbstractAsyncContextManager[RepositoryHarness]:
        return remote_harness(self.kdm)


class CutMachine(RemoteMachine):
    """Each connection may end at any time, in the middle of whatever is said."""

    @rule()
    def cut(self) -> None:
        """The connections of all streams are cut."""
        self.kdm.do(self.kdm.gate.cut)
        self._settle()


class RestartMachine(RemoteMachine):
    """The kdm may stop and start again: it knows no place of before."""

    @rule()
    def restart(self) -> None:
        """The kdm is started again."""
        if not self._broken:
            self.kdm.stop()
            self.kdm.start()
            self._settle()


@pytest.fixture(autouse=True, scope="module")
def kdm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with gated(tmp_path_factory.mktemp("kdm")) as RemoteMachine.kdm:
        yield


TestRemoteMachine = RemoteMachine.TestCase
TestRemoteMachine.settings = QUICK
TestCutMachine = CutMachine.TestCase
TestCutMachine.settings = QUICK
TestRestartMachine = RestartMachine.TestCase
TestRestartMachine.settings = settings(QUICK, max_examples=8)
