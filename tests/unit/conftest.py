"""What holds for every unit test: it leaves nothing running behind, and hypothesis searches as one profile says."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from hypothesis import HealthCheck, settings

# "ci" finds the same thing on every run and never fails for a slow machine; "nightly" looks for what "ci" missed.
settings.register_profile("ci", max_examples=50, deadline=None, derandomize=True, database=None)
settings.register_profile(
    "nightly",
    max_examples=2000,
    stateful_step_count=60,  # times the examples: 120,000 steps for each state machine
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

JOIN_S = 5.0


@pytest.fixture(autouse=True)
def _no_leaked_threads() -> Iterator[None]:
    """Fail a test that leaves a thread running: a pool, a server, a watch."""
    before = set(threading.enumerate())
    yield
    leaked = [thread for thread in threading.enumerate() if thread not in before]
    for thread in leaked:
        thread.join(JOIN_S)  # one that is ending already is no leak
    leaked = [thread for thread in leaked if thread.is_alive()]
    assert not leaked, f"threads that outlive the test: {leaked}"


@pytest.fixture(autouse=True)
async def _no_leaked_tasks(_no_leaked_threads: None) -> AsyncIterator[None]:
    """Fail a test that leaves a task running when its fixtures are gone: a reflector, a probe, a subscriber."""
    yield
    leaked = asyncio.all_tasks() - {asyncio.current_task()}
    assert not leaked, f"tasks that outlive the test: {leaked}"
