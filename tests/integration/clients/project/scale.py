"""Reads and changes a replica count with API v2, and waits for the Pods."""

import uuid

from client import connect, data_of
from kdm_client.api.v2 import adjust, get_deployment, get_rollout, list_deployments, set_replicas
from kdm_client.models import Adjust, Problem, ProblemCurrent, ProblemExpected, SetReplicas

one = ("shop", "storefront")

with connect() as kdm:
    deployment = data_of(get_deployment.sync(*one, client=kdm))
    print(f"{deployment.name}: {deployment.replicas.desired} desired, {deployment.rollout.state.value}")

    found = data_of(list_deployments.sync(client=kdm, label_selector="tier=edge"))
    print("tier=edge:", ", ".join(f"{each.namespace}/{each.name}" for each in found.items))

    body = SetReplicas(replicas=12, current_replicas=10, reason="sale")
    written = data_of(set_replicas.sync(*one, client=kdm, body=body))
    print(f"set: {written.replicas.previous} -> {written.replicas.desired}")

    match set_replicas.sync(*one, client=kdm, body=body):
        case Problem(code=code, expected=ProblemExpected() as expected, current=ProblemCurrent() as current):
            print(f"{code}: expected {expected.current_replicas}, found {current.replicas}")

    key = f'"{uuid.uuid4()}"'
    adjusted = data_of(adjust.sync(*one, client=kdm, body=Adjust(delta=-2, min_=1), idempotency_key=key))
    print(f"adjusted: {adjusted.replicas.previous} -> {adjusted.replicas.desired}")

    rollout = data_of(
        get_rollout.sync(
            *one,
            client=kdm,
            wait="60s",
            uid=adjusted.uid,
            resource_version=adjusted.resource_version,
            replicas=adjusted.replicas.desired,
        )
    )
    print(f"rollout: {rollout.outcome.value}, {rollout.replicas.available if rollout.replicas else 0} available")
