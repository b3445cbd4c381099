"""Where a Deployment stands."""

from __future__ import annotations

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kdm_core import Deployment, DeploymentCondition, ReplicaStatus, RolloutState, rollout_of
from unit.core.fixtures import WEB

STALLED = DeploymentCondition("False", "ProgressDeadlineExceeded", "it has timed out progressing")
FAILING = DeploymentCondition("True", "FailedCreate", "exceeded quota: pods")
AVAILABLE = DeploymentCondition("True", "NewReplicaSetAvailable")

counts = st.integers(0, 4)
conditions = st.none() | st.sampled_from([STALLED, FAILING, AVAILABLE, DeploymentCondition("Unknown", "Whatever")])
deployments = st.builds(
    Deployment,
    ref=st.just(WEB),
    uid=st.sampled_from(["u", "v"]),
    resource_version=st.integers(1, 9).map(str),
    generation=st.integers(1, 3),
    observed_generation=st.integers(0, 3),
    replicas=st.builds(ReplicaStatus, counts, counts, counts, counts, counts),
    paused=st.booleans(),
    progressing=conditions,
    replica_failure=conditions,
)


def web(  # the counts in the order of ReplicaStatus
    desired: int, current: int, updated: int, ready: int, available: int, *, generation: int = 1
) -> Deployment:
    return Deployment(WEB, "u", "5", generation, 1, ReplicaStatus(desired, current, updated, ready, available))


@pytest.mark.parametrize(
    ("deployment", "state", "message"),
    [
        (web(3, 3, 3, 3, 3), "settled", ""),
        (web(0, 0, 0, 0, 0), "settled", ""),
        (web(3, 3, 3, 3, 3, generation=2), "observing", "the controller has not seen the newest spec yet"),
        (web(5, 3, 3, 3, 3), "settling", "5 Pods desired, 3 created, 3 ready, 3 available"),
        (web(3, 5, 5, 5, 5), "settling", "3 Pods desired, 5 created, 5 ready, 5 available"),
        (web(1, 1, 1, 1, 0), "settling", "1 Pod desired, 1 created, 1 ready, 0 available"),
        (web(3, 4, 1, 3, 3), "settling", "3 Pods desired, 4 created (3 of an older revision), 3 ready, 3 available"),
        (
            evolve(web(5, 3, 3, 3, 3), replica_failure=FAILING),
            "blocked",
            "exceeded quota: pods (5 Pods desired, 3 created, 3 ready, 3 available)",
        ),
        (evolve(web(3, 5, 5, 5, 5), replica_failure=FAILING), "settling", None),
        (evolve(web(3, 3, 3, 3, 3), replica_failure=FAILING), "settled", ""),
        (evolve(web(5, 3, 3, 3, 3), replica_failure=evolve(FAILING, status="False")), "settling", None),
        (
            evolve(web(3, 4, 1, 3, 3), progressing=STALLED),
            "stalled",
            "it has timed out progressing (3 Pods desired, 4 created (3 of an older revision), 3 ready, 3 available)",
        ),
        (evolve(web(3, 3, 3, 3, 3), progressing=STALLED), "settled", ""),
        (evolve(web(3, 4, 1, 3, 2), progressing=evolve(STALLED, reason="FailedCreate")), "settling", None),
        (
            evolve(web(3, 3, 0, 3, 3), paused=True),
            "paused",
            "its rollouts are paused (3 Pods desired, 3 created (3 of an older revision), 3 ready, 3 available)",
        ),
        (evolve(web(3, 4, 1, 3, 3), paused=True, progressing=STALLED), "paused", None),
        (evolve(web(5, 3, 0, 3, 3), paused=True), "settling", None),
        (evolve(web(3, 3, 3, 3, 3), paused=True), "settled", ""),
        (evolve(web(3, 5, 5, 5, 5), paused=True), "settling", None),
    ],
)
def test_where_a_deployment_stands(deployment: Deployment, state: str, message: str | None) -> None:
    found = rollout_of(deployment)
    assert found.state.value == state
    if message is not None:
        assert found.message == message


@given(deployments)
def test_a_state_is_what_it_says(deployment: Deployment) -> None:
    found, counted = rollout_of(deployment), deployment.replicas
    assert (found.message == "") == (found.state is RolloutState.SETTLED)
    assert "\n" not in found.message
    observed = deployment.observed_generation >= deployment.generation
    assert observed == (found.state is not RolloutState.OBSERVING)
    all_equal = counted.current == counted.updated == counted.available == counted.desired
    assert (found.state is RolloutState.SETTLED) == (observed and all_equal)
    if found.state is RolloutState.PAUSED:
        assert deployment.paused
    if found.state is RolloutState.BLOCKED:
        assert counted.current < counted.desired
