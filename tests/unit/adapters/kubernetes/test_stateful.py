"""The Kubernetes repository on a model API server, against the model of the port, through random histories."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from hypothesis import settings

from kdm_core.testing.harness import RepositoryHarness
from kdm_core.testing.stateful import RepositoryStateMachine
from unit.adapters.kubernetes.harness import kubernetes_harness


class KubernetesMachine(RepositoryStateMachine):
    def open(self) -> AbstractAsyncContextManager[RepositoryHarness]:
        return kubernetes_harness()


TestKubernetesMachine = KubernetesMachine.TestCase
# A few examples are enough here, where each step is a round trip.
TestKubernetesMachine.settings = settings(max_examples=10)
