"""Random histories on a real API server: others write, the watch breaks and heals, kdm writes, and reads are right."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from kdm_core.testing.harness import RepositoryHarness
from kdm_core.testing.stateful import RepositoryStateMachine

from .controlplane.cluster import ControlPlane
from .kubernetes_harness import kubernetes_harness


@pytest.mark.parametrize("scoped", [False, True], ids=["all namespaces", "some namespaces"])
def test_any_history_is_followed(control_plane: ControlPlane, tmp_path: Path, *, scoped: bool) -> None:
    kubeconfig = control_plane.kubeconfig.read_text()

    class Machine(RepositoryStateMachine):
        def open(self) -> AbstractAsyncContextManager[RepositoryHarness]:
            return kubernetes_harness(kubeconfig, tmp_path, scoped=scoped)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
