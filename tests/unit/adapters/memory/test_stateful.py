"""The in-memory repository against the model, through random histories."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from kdm_core.testing.harness import RepositoryHarness
from kdm_core.testing.stateful import RepositoryStateMachine
from unit.adapters.memory.harness import memory_harness


class MemoryMachine(RepositoryStateMachine):
    def open(self) -> AbstractAsyncContextManager[RepositoryHarness]:
        return memory_harness()


TestMemoryMachine = MemoryMachine.TestCase
