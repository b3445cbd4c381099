"""What the API is, for machines: an OpenAPI document of both dialects, made from one table of routes.

It is OpenAPI 3.0, whose integer is "a JSON number without a fraction or exponent part" (JSON Schema Wright-00, 4.2), as
here; the integer of 3.1 takes ``1.0`` too. What 3.0 cannot say, that clients need a certificate, stands in the text.
"""

from __future__ import annotations

from typing import Any, Final

from kdm_core.names import MAX_LABEL_LENGTH, MAX_SUBDOMAIN_LENGTH
from kdm_core.version import installed_version

Json = dict[str, Any]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"

_ERRORS: Final = {
    400: "The request is wrong in itself: the message says what is wrong and what is allowed.",
    401: "No client certificate.",
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
    401: "a client certificate is required",
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

_ANY_ERRORS: Final = (400, 401, 429, 431, 500, 504)
_LIST_ERRORS: Final = (*_ANY_ERRORS, 403, 404, 503)
_READ_ERRORS: Final = (*_LIST_ERRORS, 409)
_WRITE_ERRORS: Final = (*_READ_ERRORS, 408, 412, 413, 415, 422, 502)


def describe(max_replicas: int) -> Json:
    """Return the OpenAPI document.

    Args:
        max_replicas: The largest count a caller may ask for.
    """
    count = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
    asked: Json = {"type": "integer", "minimum": 0, "maximum": max_replicas}
    name: Json = {
        "type": "string",
        "pattern": f"^{_LABEL}(\\.{_LABEL})*$",
        "minLength": 1,
        "maxLength": MAX_SUBDOMAIN_LENGTH,
    }
    schemas = {
        "Error": _object({"error": {"type": "string"}}),
        "Healthy": _object(
            {"status": {"type": "string", "enum": ["healthy"]}, "kubernetes": {"type": "string", "enum": ["connected"]}}
        ),
        "Unhealthy": _object({"status": {"type": "string", "enum": ["unhealthy"]}, "error": {"type": "string"}}),
        "ReplicaCountRequest": _object({"replicaCount": asked}),
        "Rfd001ReplicaCount": _object({"deploymentName": name, "replicaCount": count}),
        "Rfd001UpdatedReplicaCount": _object({"deploymentName": name, "updatedReplicaCount": asked}),
        "Rfd156ReplicaCount": _object({"name": name, "replicaCount": count}),
        "Rfd156Updated": _object({"message": {"type": "string", "enum": ["Replica count updated successfully."]}}),
    }
    return {
        "openapi": "3.0.3",
        "info": {
            "title": "kdm",
            "version": installed_version(),
            "description": "Read and change how many replicas Kubernetes Deployments run. RFD 001's API is at the "
            "root, RFD 156's under /api/v1. Every route needs a client certificate (mutual TLS).",
        },
        "paths": {
            **_dialect(
                "", "rfd001", "post", "Rfd001UpdatedReplicaCount", {"deploymentName": _N, "updatedReplicaCount": 5}
            ),
            **_dialect("/api/v1", "rfd156", "put", "Rfd156Updated", {"message": "Replica count updated successfully."}),
        },
        "components": {
            "schemas": schemas,
            "parameters": {
                "name": {
                    "name": "name",
                    "in": "path",
                    "required": True,
                    "description": "The Deployment's name: a DNS-1123 subdomain.",
                    "schema": name,
                    "example": _N,
                },
                "namespace": {
                    "name": "namespace",
                    "in": "query",
                    "description": "The namespace; '*' for every one. By default the one that is configured.",
                    "schema": {"type": "string", "pattern": f"^(\\*|{_LABEL})$", "maxLength": MAX_LABEL_LENGTH},
                    "example": "default",
                },
            },
            "responses": {
                str(status): _response(description, "Error", {"error": _ERROR_EXAMPLES[status]}, status)
                for status, description in _ERRORS.items()
            },
        },
    }


_N: Final = "nginx-deployment"
_NAMESPACE: Final = {"$ref": "#/components/parameters/namespace"}
_ETAG: Final = {
    "ETag": {
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9a-f]{16}"$'},
        "description": "What the body is known by: send it as If-None-Match when asking again.",
    }
}
_NOT_MODIFIED: Final = {"description": "It is still what If-None-Match names. There is no body.", "headers": _ETAG}


def _dialect(base: str, tag: str, write: str, written: str, written_example: Json) -> Json:
    """Describe one RFD's routes. They differ in where they are, how they write, and what their fields are called."""
    key = {"rfd001": "deploymentName", "rfd156": "name"}[tag]
    counted = f"{tag.capitalize()}ReplicaCount"
    example = {key: _N, "replicaCount": 3}
    return {
        f"{base}/deployments": {
            "parameters": [_NAMESPACE],
            "get": {
                "operationId": f"{tag}ListDeployments",
                "tags": [tag],
                "summary": "List Deployments and their replica counts",
                "responses": {
                    "200": {
                        **_response(
                            "They, by namespace, then name.",
                            {"type": "array", "items": {"$ref": f"#/components/schemas/{counted}"}},
                            [example, {key: "redis-deployment", "replicaCount": 1}],
                        ),
                        "headers": _ETAG,
                    },
                    "304": _NOT_MODIFIED,
                    **_errors(_LIST_ERRORS),
                },
            },
        },
        f"{base}/deployments/{{name}}/replicas": {
            "parameters": [{"$ref": "#/components/parameters/name"}, _NAMESPACE],
            "get": {
                "operationId": f"{tag}GetReplicas",
                "tags": [tag],
                "summary": "Get a Deployment's replica count",
                "responses": {"200": _response("It.", counted, example), **_errors(_READ_ERRORS)},
            },
            write: {
                "operationId": f"{tag}SetReplicas",
                "tags": [tag],
                "summary": "Set a Deployment's replica count",
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/json": {
                            "schema": {"$ref": "#/components/schemas/ReplicaCountRequest"},
                            "example": {"replicaCount": 5},
                        }
                    },
                },
                "responses": {"200": _response("Done.", written, written_example), **_errors(_WRITE_ERRORS)},
            },
        },
        f"{base}/health": {
            "parameters": [_NAMESPACE],
            "get": {
                "operationId": f"{tag}Health",
                "tags": [tag],
                "summary": "Tell whether kdm can do its job now",
                "responses": {
                    "200": _response("It can.", "Healthy", {"status": "healthy", "kubernetes": "connected"}),
                    **_errors(_ANY_ERRORS),
                    "503": _response(
                        "It cannot; the error says why.",
                        "Unhealthy",
                        {"status": "unhealthy", "error": "the cluster cannot be reached"},
                        503,
                    ),
                },
            },
        },
    }


def _errors(statuses: tuple[int, ...]) -> Json:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(statuses)}


def _response(description: str, schema: str | Json, example: object, status: int = 200) -> Json:
    if isinstance(schema, str):
        schema = {"$ref": f"#/components/schemas/{schema}"}
    response: Json = {
        "description": description,
        "content": {"application/json": {"schema": schema, "example": example}},
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
