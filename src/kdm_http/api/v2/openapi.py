"""The description of all versions of the API, for machines: OpenAPI 3.1, made from the table of routes.

OpenAPI 3.1 can say that clients need a certificate, and its schemas are JSON Schema, which msgspec makes of the bodies.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec
from attrs import frozen

from kdm_core.version import installed_version
from kdm_http.api import openapi as rfds
from kdm_http.api.route import Route
from kdm_http.api.v2.asked import Adjust, Park, Restore, SetReplicas
from kdm_http.api.v2.bulk_asked import ScaleMany
from kdm_http.api.v2.examples import EXAMPLES, PROBLEM
from kdm_http.api.v2.parameters import PARAMETERS, Json, reference
from kdm_http.api.v2.problems import KINDS
from kdm_http.api.v2.schemas import schema_name, schemas

_ANY: Final = (400, 401, 429, 431, 500, 504)
_READ: Final = (*_ANY, 403, 404, 503)
_LIST: Final = (*_READ, 410)
_WRITE: Final = (*_READ, 408, 409, 412, 413, 415, 422, 502)
_SERVER: Final = {
    401: "The client certificate cannot be a client's: the message says why.",
    408: "The request came too slowly.",
    429: "This client has too many connections or requests; Retry-After says when to try again.",
    431: "The request's header is too large.",
}
"""What the server answers before the API sees the request: in the form of RFD 001's errors."""

_RETRY_AFTER: Final = {"schema": {"type": "integer"}, "description": "When to ask again, in seconds."}
_ETAG: Final = {"schema": {"type": "string"}, "description": "What the answer is known by."}
_AGE: Final = {
    "schema": {"type": "integer", "minimum": 0},
    "description": "How old the proof is that this is so, in seconds.",
}
_REPLAYED: Final = {
    "schema": {"type": "string", "enum": ["true"]},
    "description": "There where this is the answer to an earlier request with the same Idempotency-Key.",
}
_NOT_MODIFIED: Final = {
    "description": "It is still what If-None-Match names. There is no body.",
    "headers": {"ETag": _ETAG, "Age": _AGE},
}


@frozen
class _Operation:
    """What is said of an operation.

    Attributes:
        summary: In a line.
        success: What a 200 means.
        errors: The statuses of what can go wrong.
        body: What is asked with; None for no body.
        headers: The request's header fields.
        partly: What a 207 means; "" where there is none.
    """

    summary: str
    success: str
    errors: tuple[int, ...]
    body: type[msgspec.Struct] | None = None
    headers: tuple[str, ...] = ()
    partly: str = ""


_WATCH: Final = (
    "With `watch=true` the answer is a stream of server-sent events (`text/event-stream`) in place of a list. It is no "
    "parameter here: a client that is made from this document would wait for the end of an answer that has none."
)
_PROGRESS: Final = (
    "With `Accept: text/event-stream` the answer is a stream of server-sent events: `started`, an `item` as each is "
    "over, with `wait` a `rollout` as each is, and in the end `done` with what would have been the answer, or `error` "
    "with a problem. A request that fails before it has begun is answered with its status, as without it."
)
_TAGGED: Final = ("If-None-Match",)
_OPERATIONS: Final = {
    "About": _Operation("What answers, who asks, and what can be asked for", "About this kdm and its caller.", _ANY),
    "ListDeployments": _Operation(
        "List Deployments of all namespaces", "The Deployments, by namespace, then name.", _LIST, headers=_TAGGED
    ),
    "ListNamespace": _Operation(
        "List Deployments of one namespace", "The Deployments, by name.", _LIST, headers=_TAGGED
    ),
    "GetDeployment": _Operation("Get one Deployment", "The Deployment.", _READ, headers=_TAGGED),
    "GetReplicas": _Operation("Get the desired replica count", "The count.", _READ, headers=_TAGGED),
    "SetReplicas": _Operation(
        "Set the desired replica count",
        "It is set; with dryRun, it could be.",
        _WRITE,
        SetReplicas,
        ("If-Match", "Idempotency-Key"),
    ),
    "Adjust": _Operation(
        "Change the desired replica count by a number",
        "It is changed; with dryRun, it could be.",
        _WRITE,
        Adjust,
        ("Idempotency-Key",),
    ),
    "ScaleMany": _Operation(
        "Change the desired replica counts of many Deployments",
        "All of it is done, or was so already; with dryRun, the plan.",
        _WRITE,
        ScaleMany,
        ("If-Match", "Idempotency-Key"),
        "Some items are refused, failed or had no turn: each says whether it was written.",
    ),
    "Park": _Operation(
        "Remember the desired replica count and set it to zero",
        "It is parked, or was before; with dryRun, it could be.",
        _WRITE,
        Park,
        ("Idempotency-Key",),
    ),
    "Restore": _Operation(
        "Bring a parked Deployment back to the replica count that it had",
        "It is restored; with dryRun, it could be.",
        _WRITE,
        Restore,
        ("Idempotency-Key",),
    ),
    "ListParked": _Operation("List what is parked in all namespaces", "What is parked, and in which batches.", _READ),
    "ListParkedOfNamespace": _Operation(
        "List what is parked in one namespace", "What is parked, and in which batches.", _READ
    ),
    "GetHistory": _Operation(
        "Who changed the desired count of one Deployment", "The changes that this kdm has seen, newest first.", _READ
    ),
    "ListHistory": _Operation(
        "Who changed which desired counts", "The changes that this kdm has seen, newest first.", _LIST
    ),
    "ListNamespaceHistory": _Operation(
        "Who changed which desired counts of one namespace", "The changes that this kdm has seen, newest first.", _LIST
    ),
    "GetRollout": _Operation("Wait until the Pods have followed a count", "What came of it, or how far it is.", _READ),
}
"""What is described. Any other operation is for machines that read this document, or for people."""


def describe_all(routes: Iterable[Route], max_replicas: int) -> Json:
    """Return the OpenAPI document of every version.

    Args:
        routes: The table of routes.
        max_replicas: The largest count a caller may ask for.
    """
    routes = tuple(routes)
    document = rfds.describe(routes, max_replicas)
    components = document["components"]
    described = [each for each in routes if each.dialect.name == "v2" and each.operation in _OPERATIONS]
    statuses = sorted({status for each in described for status in _OPERATIONS[each.operation].errors})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "kdm",
            "version": installed_version(),
            "summary": "Read and change how many replicas Kubernetes Deployments run.",
            "description": "API v2 is under /api/v2, RFD 156's API under /api/v1, RFD 001's at the root. Every route "
            "needs a client certificate (mutual TLS). Integers are written without a fraction.",
        },
        "servers": [{"url": "/", "description": "The server that this document comes from."}],
        "security": [{"mutualTLS": []}],
        "tags": [
            {"name": "v2", "description": "API v2: namespaces in the path, all counts, safe writes, waiting."},
            {"name": "rfd156", "description": "RFD 156."},
            {"name": "rfd001", "description": "RFD 001."},
        ],
        "paths": {**_paths(described), **document["paths"]},
        "components": {
            "securitySchemes": {
                "mutualTLS": {"type": "mutualTLS", "description": "A client certificate of the client CA."}
            },
            "schemas": {**components["schemas"], **schemas({each.shows for each in described}, max_replicas)},
            "parameters": {
                **components["parameters"],
                **{_key(name): each for name, each in PARAMETERS.items() if _is_used(name, described)},
            },
            "responses": {
                **components["responses"],
                **{_key(status): _error(status) for status in statuses},
            },
        },
    }


def _is_used(name: str, described: Iterable[Route]) -> bool:
    return any(name in {*each.parameters, *each.query, *_OPERATIONS[each.operation].headers} for each in described)


def _paths(described: Iterable[Route]) -> dict[str, Json]:
    paths: dict[str, Json] = {}
    for route in described:
        path = paths.setdefault(route.template, {"parameters": _references(route.parameters)})
        if not path["parameters"]:
            del path["parameters"]
        path[route.method.lower()] = _operation(route, _OPERATIONS[route.operation])
    return paths


def _operation(route: Route, operation: _Operation) -> Json:
    success: Json = {
        "description": operation.success,
        "content": {
            "application/json": {
                "schema": reference("schemas", schema_name(route.shows)),
                "example": EXAMPLES[route.shows],
            }
        },
    }
    responses: Json = {"200": success}
    if "If-None-Match" in operation.headers:
        success["headers"] = {"ETag": {**_ETAG, "required": True}, "Age": {**_AGE, "required": True}}
        responses["304"] = _NOT_MODIFIED
    if route.replayable:
        success["headers"] = {"ETag": _ETAG, "Idempotency-Replayed": _REPLAYED}
    if operation.partly:
        responses["207"] = {**success, "description": operation.partly}
    for status in operation.errors:
        responses[str(status)] = reference("responses", _key(status))
    query = [each for each in route.query if each not in {"watch", "allowWatchBookmarks"}]
    described: Json = {
        "operationId": route.operation[0].lower() + route.operation[1:],
        "tags": ["v2"],
        "summary": operation.summary,
        "parameters": _references((*query, *operation.headers)),
    }
    if "watch" in route.query:
        described["description"] = _WATCH
    if route.progressive:
        described["description"] = _PROGRESS
    if operation.body is not None:
        schema = reference("schemas", schema_name(operation.body))
        content = {"application/json": {"schema": schema, "example": EXAMPLES[operation.body]}}
        described["requestBody"] = {"required": True, "content": content}
    described["responses"] = dict(sorted(responses.items()))
    return {name: value for name, value in described.items() if value != []}


def _key(name: str | int) -> str:
    return f"v2-{name}"


def _references(names: Iterable[str]) -> list[Json]:
    return [reference("parameters", _key(name)) for name in names]


def _error(status: int) -> Json:
    """Return what is said of a status: each code that it can have."""
    kinds = [each for each in KINDS.values() if each.status == status]
    said = [f"- `{each.code}`: {each.meaning}" for each in kinds]
    content: Json = {}
    if status in _SERVER:
        said.insert(0, _SERVER[status])
        content["application/json"] = {"schema": reference("schemas", "Error")}
    if kinds:
        content["application/problem+json"] = {
            "schema": reference("schemas", "Problem"),
            "example": PROBLEM
            | {"type": f"/problems/{kinds[0].code}", "title": kinds[0].title, "status": status}
            | {"code": kinds[0].code, "detail": kinds[0].meaning, "retryable": kinds[0].retryable},
        }
    response: Json = {"description": "\n".join(said), "content": content}
    if status in {429, 503}:
        response["headers"] = {"Retry-After": _RETRY_AFTER}
    return response
