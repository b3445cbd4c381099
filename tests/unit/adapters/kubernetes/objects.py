"""Deployments for tests: as the domain's values, and as the API server's JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from kdm_core.model import Deployment, DeploymentCondition, DeploymentRef, ReplicaStatus
from unit.adapters.kubernetes.owned import manager, marks

NAMESPACE = "shop"
PROGRESSING = DeploymentCondition("True", "NewReplicaSetAvailable")


def deployment(
    name: str,
    resource_version: int | str,
    *,
    namespace: str = NAMESPACE,
    uid: str = "",
    desired: int = 1,
    ready: int = 0,
    generation: int = 1,
    labels: Mapping[str, str] | None = None,
    progressing: DeploymentCondition | None = PROGRESSING,
    replica_failure: DeploymentCondition | None = None,
) -> Deployment:
    """Return a Deployment as a repository would."""
    return Deployment(
        ref=DeploymentRef(namespace, name),
        uid=uid or f"uid-{namespace}-{name}",
        resource_version=str(resource_version),
        generation=generation,
        observed_generation=generation,
        replicas=ReplicaStatus(desired, ready, ready, ready, ready),
        labels=labels or {},
        progressing=progressing,
        replica_failure=replica_failure,
    )


def api_object(held: Deployment, **metadata: Any) -> dict[str, Any]:
    """Return a Deployment as the API server writes it, with fields nobody here needs."""
    replicas = held.replicas
    owned = marks(held.ref, held.owners)
    return {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": held.ref.name,
            "namespace": held.ref.namespace,
            "uid": held.uid,
            "resourceVersion": held.resource_version,
            "generation": held.generation,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            **({"labels": dict(held.labels)} if held.labels else {}),
            "annotations": {"deployment.kubernetes.io/revision": "1", **owned["annotations"]},
            **({"ownerReferences": owned["ownerReferences"]} if owned["ownerReferences"] else {}),
            "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:template": {}}}}, *_holder(held)],
            **metadata,
        },
        "spec": {
            "replicas": replicas.desired,
            "selector": {"matchLabels": {"app": held.ref.name}},
            "template": {"spec": {"containers": [{"name": "main", "image": "example/web:1", "args": ["{", '"']}]}},
            **({"paused": True} if held.paused else {}),
        },
        # The API server leaves zeroes out.
        "status": {
            key: value
            for key, value in {
                "observedGeneration": held.observed_generation,
                "replicas": replicas.current,
                "updatedReplicas": replicas.updated,
                "readyReplicas": replicas.ready,
                "availableReplicas": replicas.available,
                "conditions": conditions(held),
            }.items()
            if value
        },
    }


def _holder(held: Deployment) -> list[dict[str, Any]]:
    """Return the entry of ``managedFields`` of the owner that holds the count, if one does."""
    holder = manager(held.owners)
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    return [{"manager": holder, "operation": "Update", "fieldsV1": fields}] if holder else []


def conditions(held: Deployment) -> list[dict[str, str]]:
    """Return a Deployment's conditions as its controller writes them."""
    minimum = "Deployment has minimum availability."
    found = [{"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": minimum}]
    kept = {"Progressing": held.progressing, "ReplicaFailure": held.replica_failure}
    return found + [
        {"type": kind, "status": each.status, "reason": each.reason, "message": each.message or "all is well"}
        for kind, each in kept.items()
        if each is not None
    ]


def event_line(kind: str, held: Deployment, **metadata: Any) -> bytes:
    """Return a watch event, without its line feed."""
    return _json({"type": kind, "object": api_object(held, **metadata)})


def bookmark_line(resource_version: int | str, *, initial_events_end: str | None = None) -> bytes:
    """Return a bookmark, without its line feed."""
    metadata: dict[str, Any] = {"resourceVersion": str(resource_version), "creationTimestamp": None}
    if initial_events_end is not None:
        metadata["annotations"] = {"k8s.io/initial-events-end": initial_events_end}
    empty = {"selector": None, "template": {"metadata": {"creationTimestamp": None}, "spec": {"containers": None}}}
    return _json(
        {
            "type": "BOOKMARK",
            "object": {
                "kind": "Deployment",
                "apiVersion": "apps/v1",
                "metadata": metadata,
                "spec": empty | {"strategy": {}},
                "status": {},
            },
        }
    )


def status(code: int, reason: str, message: str = "", **details: Any) -> dict[str, Any]:
    """Return Kubernetes' Status of a failure."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message or reason,
        "reason": reason,
        **({"details": details} if details else {}),
        "code": code,
    }


def error_line(code: int, reason: str, message: str = "", **details: Any) -> bytes:
    """Return an ERROR event, without its line feed."""
    return _json({"type": "ERROR", "object": status(code, reason, message, **details)})


def list_body(*items: Deployment, resource_version: int | str, continue_token: str = "") -> bytes:
    """Return the answer to a list: its items carry no kind of their own."""
    metadata = {"resourceVersion": str(resource_version)} | ({"continue": continue_token} if continue_token else {})
    objects = [{key: value for key, value in api_object(item).items() if key not in _TYPE} for item in items]
    return _json({"kind": "DeploymentList", "apiVersion": "apps/v1", "metadata": metadata, "items": objects})


_TYPE = {"kind", "apiVersion"}


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
