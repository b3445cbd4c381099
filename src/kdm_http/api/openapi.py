"""What the API is, for machines: an OpenAPI document, made from the table of routes.

It is OpenAPI 3.0, whose integer is "a JSON number without a fraction or exponent part" (JSON Schema Wright-00, 4.2), as
here; the integer of 3.1 takes ``1.0`` too. What 3.0 cannot say, that clients need a certificate, stands in the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from attrs import frozen

from kdm_core.names import MAX_LABEL_LENGTH, MAX_REPLICAS, MAX_SUBDOMAIN_LENGTH
from kdm_core.version import installed_version
from kdm_http.api.health import Unhealthy
from kdm_http.api.route import AskedCount, Count, Name, Route

Json = dict[str, Any]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

_ERRORS: Final = {
    400: "The request is wrong in itself: the message says what is wrong and what is allowed.",
    401: "The client certificate cannot be a client's: the message says why.",
    403: "The policy does not let this caller do this.",
    404: "There is no such Deployment, or the namespace is not managed here.",
    408: "The body came too slowly.",
    409: "Several namespaces have a Deployment of this name, or it was changed at the same time.",
    412: "If-Match or If-None-Match is not met: a count has no entity tag, so If-Match is met by * alone.",
    413: "The body is larger than 64 KiB.",
    415: "The body is not application/json.",
    422: "The cluster, or an admission webhook or policy in it, refused the count.",
    429: "This client has too many connections or requests; Retry-After says when to try again.",
    431: "The request's header is too large.",
    500: "A defect in kdm. The log has more under the request id of the answer.",
    502: "The cluster does not let kdm do this, or something else answered in its place.",
    503: "The cluster cannot be reached, or the cache is not in sync.",
    504: "The cluster or kdm did not answer in time, or failed half-way; a write may have happened.",
}

_ERROR_EXAMPLES: Final = {
    400: "invalid replica count -1: it must be an integer from 0 to 1000",
    401: "the client certificate is refused (no-identity): the certificate has 2 common names, not one",
    403: "user 'dev-viewer' lacks the permission 'scale' on Deployment 'default/nginx-deployment' to 5 replicas",
    404: "Deployment 'default/nginx-deployment' not found",
    408: "the body did not come within 20 s",
    409: "Deployment 'api' exists in several namespaces, say which: payments, shop; choose one with ?namespace=",
    412: "If-Match names an entity tag, and a replica count has none; the one value that is met is *",
    413: "the body is larger than 65536 bytes",
    415: "the media type 'text/plain' is not supported; send application/json",
    422: 'the cluster refused: admission webhook "limits" denied the request: at most 20',
    429: "more than 1000 requests a second of one identity",
    431: "the request's header is too large",
    500: "internal error; the log has more under request id 4f2c9a1be07d3386",
    502: "kdm's identity lacks the RBAC permission 'patch' on 'deployments/scale' in namespace 'default'",
    503: "the cluster cannot be reached",
    504: "the cluster did not answer within 10 s",
}

_HEALTH_ERRORS: Final = {
    **{status: _ERROR_EXAMPLES[status] for status in (500, 503)},
    400: "unknown query parameter 'verbose'; allowed is: namespace",
}
"""What health answers in its own form. The server's own errors have the form of all others."""

_ANY_ERRORS: Final = (400, 401, 429, 431, 500, 504)
_LIST_ERRORS: Final = (*_ANY_ERRORS, 403, 404, 503)
_READ_ERRORS: Final = (*_LIST_ERRORS, 409)
_WRITE_ERRORS: Final = (*_READ_ERRORS, 408, 412, 413, 415, 422, 502)


@frozen
class _Operation:
    """What is said of an operation in every dialect that has it."""

    summary: str
    success: str
    errors: tuple[int, ...]


DIALECTS: Final = frozenset({"rfd001", "rfd156"})
"""What this document describes. A later dialect has one of its own."""

_OPERATIONS: Final = {
    "ListDeployments": _Operation(
        "List Deployments and their replica counts", "The Deployments, by namespace, then name.", _LIST_ERRORS
    ),
    "GetReplicas": _Operation("Get a Deployment's replica count", "The replica count.", _READ_ERRORS),
    "SetReplicas": _Operation("Set a Deployment's replica count", "It is set.", _WRITE_ERRORS),
    "Health": _Operation("Check whether kdm can do its job now", "It can.", _ANY_ERRORS),
}
"""What is described. Any other operation is for machines that read this document."""

_N: Final = "nginx-deployment"
_LABELS: Final = f"{_LABEL}(\\.{_LABEL})*"
_NAME: Final = {"type": "string", "pattern": f"^{_LABELS}$", "minLength": 1, "maxLength": MAX_SUBDOMAIN_LENGTH}
_PARAMETERS: Final = {
    "name": {
        "name": "name",
        "in": "path",
        "required": True,
        "description": "The Deployment's name: a DNS-1123 subdomain.",
        "schema": _NAME,
        "example": _N,
    },
    "namespace": {
        "name": "namespace",
        "in": "query",
        "description": "The namespace; '*' for every one. By default the one that is configured.",
        "schema": {"type": "string", "pattern": f"^(\\*|{_LABEL})$", "maxLength": MAX_LABEL_LENGTH},
        "example": "default",
    },
}
_ETAG: Final = {
    "ETag": {
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{16}"$'},
        "description": "What the body is known by: send it as If-None-Match when asking again.",
    }
}
_NOT_MODIFIED: Final = {"description": "It is still what If-None-Match names. There is no body.", "headers": _ETAG}


def describe(routes: Iterable[Route], max_replicas: int) -> Json:
    """Return the OpenAPI document.

    Args:
        routes: The table of routes.
        max_replicas: The largest count a caller may ask for.
    """
    described = [route for route in routes if route.dialect.name in DIALECTS and route.operation in _OPERATIONS]
    asked: Json = {"type": "integer", "minimum": 0, "maximum": max_replicas}
    types: dict[object, Json] = {
        str: {"type": "string"},
        Name: _NAME,
        Count: {"type": "integer", "minimum": 0, "maximum": MAX_REPLICAS},
        AskedCount: asked,
    }
    shown = {_schema_name(route): route.shows for route in described}
    paths: dict[str, Json] = {}
    for route in described:
        path = paths.setdefault(
            route.template, {"parameters": _references("parameters", *route.parameters, *route.query)}
        )
        path[route.method.lower()] = _operation(route, _OPERATIONS[route.operation])
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "kdm",
            "version": installed_version(),
            "description": "Read and change how many replicas Kubernetes Deployments run. RFD 001's API is at the "
            "root, RFD 156's under /api/v1. Every route needs a client certificate (mutual TLS).",
        },
        "paths": paths,
        "components": {
            "schemas": {
                "Error": _object({"error": types[str]}),
                "ReplicaCountRequest": _object({"replicaCount": asked}),
                "Unhealthy": _schema(Unhealthy, types),
                **{name: _schema(shape, types) for name, shape in shown.items()},
            },
            "parameters": _PARAMETERS,
            "responses": {
                str(status): _response(description, "Error", {"error": _ERROR_EXAMPLES[status]}, status)
                for status, description in _ERRORS.items()
            },
        },
    }


def _operation(route: Route, operation: _Operation) -> Json:
    success = _response(operation.success, _schema_name(route), _example(route.shows))
    responses = {"200": success, **_errors(operation.errors)}
    described: Json = {
        "operationId": f"{route.dialect.name}{route.operation}",
        "tags": [route.dialect.name],
        "summary": operation.summary,
    }
    if route.tagged:
        content = success["content"]["application/json"]
        content["schema"] = {"type": "array", "items": content["schema"]}
        content["example"] = [content["example"], _example(route.shows, "redis-deployment", 1)]
        success["headers"] = _ETAG
        responses["304"] = _NOT_MODIFIED
    if route.method != "GET":
        schema = {"$ref": "#/components/schemas/ReplicaCountRequest"}
        content = {"application/json": {"schema": schema, "example": {"replicaCount": 5}}}
        described["requestBody"] = {"required": True, "content": content}
    if route.operation == "Health":
        said = {**_ERRORS, 503: "It cannot; the error says why."}
        for status, error in _HEALTH_ERRORS.items():
            example = {"status": "unhealthy", "error": error}
            responses[str(status)] = _response(said[status], "Unhealthy", example, status)
    described["responses"] = dict(sorted(responses.items()))
    return described


def _schema_name(route: Route) -> str:
    name = route.shows.__name__
    return name if route.operation == "Health" else f"{route.dialect.name.capitalize()}{name}"


def _schema(shape: type[msgspec.Struct], types: Mapping[object, Json]) -> Json:
    """Return the schema of a body: a field with a default never has another value."""
    return _object(
        {
            each.encode_name: types[each.type]
            if each.default is msgspec.NODEFAULT
            else {"type": "string", "enum": [each.default]}
            for each in msgspec.structs.fields(shape)
        }
    )


def _example(shape: type[msgspec.Struct], name: str = _N, count: int = 3) -> Json:
    values: dict[object, object] = {Name: name, Count: count, AskedCount: 5}
    return {each.encode_name: values.get(each.type, each.default) for each in msgspec.structs.fields(shape)}


def _references(kind: str, *names: str) -> list[Json]:
    return [{"$ref": f"#/components/{kind}/{name}"} for name in names]


def _errors(statuses: tuple[int, ...]) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _response(description: str, schema: str, example: object, status: int = 200) -> Json:
    reference = {"$ref": f"#/components/schemas/{schema}"}
    response: Json = {
        "description": description,
        "content": {"application/json": {"schema": reference, "example": example}},
    }
    if status in {429, 503}:
        response["headers"] = {
            "Retry-After": {"schema": {"type": "integer"}, "description": "When to ask again, in seconds."}
        }
    return response


def _object(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
