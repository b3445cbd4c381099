"""The schemas of API v2's bodies, for its description: what msgspec makes of them, and what it cannot know.

They are written so that generated clients have what a person would write by hand: types with names of their own, and
nothing in a request that must be given but need not be. Hence no ``default`` in a request's body: generators of
TypeScript take such a field for one that is always there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from kdm_core.bulk import MAX_ITEMS
from kdm_core.names import MAX_REPLICAS
from kdm_core.scaling import MAX_FACTOR, MAX_FACTOR_DIGITS, MAX_REASON_LENGTH
from kdm_http.api.v2.asked import Adjust, Park, Restore, SetReplicas
from kdm_http.api.v2.bodies import (
    DeploymentBody,
    LastChangeBody,
    LimitsBody,
    ReplicasBody,
    RolloutBody,
    RolloutNow,
    TargetBody,
    WrittenBody,
)
from kdm_http.api.v2.bulk_asked import ParkId, ScaleItem, ScaleMany, Select
from kdm_http.api.v2.bulk_bodies import BulkBody, BulkItemBody
from kdm_http.api.v2.history_bodies import ChangeBody, HistoryBody
from kdm_http.api.v2.parameters import Json, reference
from kdm_http.api.v2.parking_bodies import ParkingBody
from kdm_http.api.v2.problems import KINDS

_NAMES: Final[dict[type[msgspec.Struct], str]] = {
    BulkBody: "BulkResult",
    BulkItemBody: "BulkItemResult",
    ChangeBody: "CountChange",
    DeploymentBody: "Deployment",
    HistoryBody: "History",
    LastChangeBody: "LastChange",
    LimitsBody: "Limits",
    ParkingBody: "ParkingResult",
    ReplicasBody: "Scale",
    RolloutBody: "RolloutResult",
    RolloutNow: "RolloutStatus",
    TargetBody: "RolloutTarget",
    WrittenBody: "WriteResult",
}
"""What generated clients call a body, where its class here is called otherwise."""

_REQUESTS: Final = (SetReplicas, Adjust, ScaleMany, Park, Restore)
_PARTS: Final = (ParkId, ScaleItem, Select)
_COUNTS: Final = frozenset({"replicas", "currentReplicas", "min", "max"})
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": MAX_REPLICAS}
_STRING: Final = {"type": "string"}


def schema_name(shape: type[msgspec.Struct]) -> str:
    """Return what a body is called among the schemas."""
    return _NAMES.get(shape, shape.__name__)


def schemas(shapes: Iterable[type[msgspec.Struct]], max_replicas: int) -> dict[str, Json]:
    """Return every schema by its name.

    Args:
        shapes: The bodies of answers.
        max_replicas: The largest count a caller may ask for.
    """
    ordered = [*sorted(shapes, key=lambda each: each.__name__), *_REQUESTS]
    _, made = msgspec.json.schema_components(ordered, ref_template="#/components/schemas/{name}")
    said = _fields(max_replicas)
    for request in (*_REQUESTS, *_PARTS):
        for field, schema in made[request.__name__]["properties"].items():
            schema.pop("default", None)
            schema.update(said[field])
            if field in _COUNTS and "anyOf" in schema:
                schema["anyOf"][0] |= _COUNT
            if field == "factor":
                schema["anyOf"] = [{"type": "number", "exclusiveMinimum": 0, "maximum": MAX_FACTOR}, {"type": "null"}]
    made["BulkItemBody"]["properties"]["error"]["anyOf"][0] = reference("schemas", "Problem")
    named = msgspec.json.encode(made).decode()
    for shape, name in _NAMES.items():
        old = shape.__name__
        named = named.replace(f'/{old}"', f'/{name}"').replace(f'"{old}":', f'"{name}":')
        named = named.replace(f'"title":"{old}"', f'"title":"{name}"')
    return {**msgspec.json.decode(named.replace("``", "`")), **_problem(), "DryRun": {**_STRING, "enum": ["All"]}}


def _fields(max_replicas: int) -> dict[str, Json]:
    """Return what is said of each field of a request; the limits are the core's, which msgspec does not check."""
    count: Json = {"minimum": 0, "maximum": max_replicas}
    reason: Json = {"maxLength": MAX_REASON_LENGTH, "pattern": r"^[^\x00-\x1f\x7f]*$"}
    return {
        "replicas": {**count, "description": "The desired count."},
        "delta": {
            "minimum": -MAX_REPLICAS,
            "maximum": MAX_REPLICAS,
            "description": "How many more, or fewer.",
        },
        "factor": {"description": f"By what to multiply, with at most {MAX_FACTOR_DIGITS} decimal places; half up."},
        "min": {**count, "description": "The smallest count that may result; 0 by default."},
        "max": {"description": "The largest count that may result; by default what kdm allows."},
        "onBound": {"description": "What to do where the result would be out of bounds; `reject` by default."},
        "currentReplicas": {"description": "Write only if this is the desired count before."},
        "resourceVersion": {"description": "Write only if the Deployment is at this version."},
        "uid": {"description": "Write only if the Deployment is this object."},
        "reason": {**reason, "description": "Why, for the audit trail."},
        "park": {"description": "Remember the counts, and go to zero: true, or the parkId to restore them by."},
        "restore": {"description": "Bring back what was parked: true for all of it, or only what has this parkId."},
        "select": {"description": "Which Deployments, all with the same change; this or `items`."},
        "items": {"description": f"Which Deployments, by name, at most {MAX_ITEMS}; this or `select`."},
        "onError": {"description": "What becomes of the batch when an item is refused or fails; `abort` by default."},
        "namespace": {"description": "The namespace."},
        "name": {"description": "The Deployment's name."},
        "labelSelector": {"description": "Those with such labels, in the grammar of Kubernetes; this or `all`."},
        "all": {"description": "Whether all of them are meant, whatever their labels."},
        "parkId": {
            "maxLength": 63,
            "pattern": "^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$",
            "description": "What the batch is called that is restored together; by default one of its own, or any.",
        },
        "override": {"description": "Whether to write although an owner will change it back, where there is one."},
    }


def _problem() -> dict[str, Json]:
    """Return the schemas of an error: RFC 9457's members, kdm's own, and those that a code needs."""
    current: Json = {
        "namespace": _STRING,
        "name": _STRING,
        "generation": {"type": "integer"},
        "replicas": _COUNT,
        "resourceVersion": _STRING,
        "uid": _STRING,
        "etag": _STRING,
        "lastChange": {
            "anyOf": [reference("schemas", "LastChange"), {"type": "null"}],
            "description": "The newest change of its count; null where it is not known.",
        },
    }
    expected: Json = {"currentReplicas": _COUNT, "resourceVersion": _STRING, "uid": _STRING}
    properties: Json = {
        "type": {**_STRING, "format": "uri-reference", "description": "The page of this problem."},
        "title": _STRING,
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {**_STRING, "description": "What went wrong, for a person."},
        "code": {
            "anyOf": [reference("schemas", "ProblemCode"), _STRING],
            "description": "What went wrong, for a program. Later versions of kdm may have more.",
        },
        "requestId": _STRING,
        "retryable": {"type": "boolean", "description": "Whether the same request may succeed later."},
        "written": {
            "type": ["boolean", "null"],
            "description": "Of a write: whether it was stored; null where that is not known.",
        },
        "expected": reference("schemas", "ProblemExpected"),
        "current": reference("schemas", "ProblemCurrent"),
        "allowed": {"type": "array", "items": _STRING, "description": "What is allowed."},
        "bounds": reference("schemas", "ProblemBounds"),
        "result": {"type": "integer", "description": "The count that the change would have led to."},
        "replicas": {"type": "integer", "description": "The count that was asked for."},
        "verb": {**_STRING, "description": "What the caller may not do."},
        "user": {**_STRING, "description": "Who may not do it."},
        "target": {**_STRING, "description": "On what the caller may not do it, for a person."},
        "namespace": {**_STRING, "description": "The namespace that the problem is about."},
        "name": {**_STRING, "description": "The name of the Deployment that the problem is about."},
        "namespaces": {"type": "array", "items": _STRING, "description": "The namespaces that have one of this name."},
        "what": {**_STRING, "description": "Of what the name is that cannot be one."},
        "value": {**_STRING, "description": "What cannot be right, cut where it is very long."},
        "rule": {**_STRING, "description": "What a name must be."},
        "selector": {**_STRING, "description": "The label selector that cannot be read."},
        "problem": {**_STRING, "description": "What is wrong with the label selector."},
        "owners": {
            "type": "array",
            "items": reference("schemas", "OwnerBody"),
            "description": "What would change the count back, and what to do instead.",
        },
        "attempts": {"type": "integer", "description": "How often the write was tried."},
        "remembered": {"type": "integer", "description": "The count that the Deployment had when it was parked."},
        "forgotten": {"type": "boolean", "description": "Whether what was remembered of it is forgotten now."},
        "where": {**_STRING, "description": "Where it is remembered what is parked."},
        "total": {"type": "integer", "description": "How many Deployments the batch has."},
        "plan": {**_STRING, "description": "What the plan of this moment is known by."},
        "items": {
            "type": "array",
            "items": reference("schemas", "ProblemItem"),
            "description": "The items of a batch that are refused.",
        },
    }
    item: Json = {
        "namespace": _STRING,
        "name": _STRING,
        "error": reference("schemas", "Problem"),
    }
    required = ["type", "title", "status", "detail", "code", "requestId", "retryable"]
    return {
        "Problem": {"type": "object", "properties": properties, "required": required},
        "ProblemCode": {**_STRING, "enum": list(KINDS)},
        "ProblemCurrent": _object("The Deployment as it is.", current, ["replicas"]),
        "ProblemExpected": _object("What the request expected of the Deployment.", expected, []),
        "ProblemItem": _object("An item of a batch that is refused.", item, list(item)),
        "ProblemBounds": _object("The smallest and the largest count.", {"min": _COUNT, "max": _COUNT}, ["min", "max"]),
    }


def _object(description: str, properties: Json, required: list[str]) -> Json:
    return {"type": "object", "description": description, "properties": properties, "required": required}
