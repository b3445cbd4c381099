"""What the parameters and header fields of API v2 are, for its description."""

from __future__ import annotations

from typing import Any, Final

from kdm_core import MAX_REPLICAS, RolloutState, WaitFor
from kdm_core.names import MAX_LABEL_LENGTH, MAX_SUBDOMAIN_LENGTH
from kdm_http.api.v2.problems import KINDS

Json = dict[str, Any]

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DURATION: Final = r"^(0|([0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h))+)$"
_VERSION: Final = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,17})$"}
_TAG: Final = '(W/)?"[!#-~]*"'
_STATES: Final = "|".join(each.value for each in RolloutState)


def reference(kind: str, name: str) -> Json:
    """Return a reference to a component of the description."""
    return {"$ref": f"#/components/{kind}/{name}"}


def _path(name: str, description: str, schema: Json, example: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
        "example": example,
    }


def _query(name: str, description: str, schema: Json, example: object) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema, "example": example}


def _header(name: str, description: str, schema: Json, example: str) -> Json:
    return {"name": name, "in": "header", "description": description, "schema": schema, "example": example}


PARAMETERS: Final[dict[str, Json]] = {
    each["name"]: each
    for each in (
        _path(
            "namespace",
            "The namespace: a DNS-1123 label.",
            {"type": "string", "pattern": f"^{_LABEL}$", "minLength": 1, "maxLength": MAX_LABEL_LENGTH},
            "default",
        ),
        _path(
            "name",
            "The Deployment's name: a DNS-1123 subdomain.",
            {
                "type": "string",
                "pattern": f"^{_LABEL}(\\.{_LABEL})*$",
                "minLength": 1,
                "maxLength": MAX_SUBDOMAIN_LENGTH,
            },
            "nginx-deployment",
        ),
        _path("code", "A problem's code.", {"type": "string", "enum": list(KINDS)}, "deployment-not-found"),
        _query(
            "labelSelector",
            "Only those with such labels, in the grammar of Kubernetes: `tier in (web,api),!legacy`.",
            {"type": "string"},
            "app=web",
        ),
        _query(
            "state",
            "Only those in such a state of their rollout; several with commas between them.",
            {"type": "string", "pattern": f"^({_STATES})(,({_STATES}))*$"},
            "stalled,blocked",
        ),
        _query("limit", "At most so many.", {"type": "integer", "minimum": 1, "maximum": MAX_REPLICAS}, 500),
        _query(
            "continue",
            "Where the page begins: what the metadata of the page before had. With the same filters.",
            {"type": "string"},
            "WzEsInNob3AiLCJ3ZWIiLCIwYTFiMmMzZDRlNWYiLCI0ODIxMyJd",
        ),
        _query("resourceVersion", "Only an answer that is at least so new; see also `wait`.", _VERSION, "48213"),
        _query(
            "wait",
            "How long to wait at most, in the notation of Go, up to 10m.",
            {"type": "string", "pattern": _DURATION},
            "60s",
        ),
        _query(
            "for",
            f"How far the rollout must have come; `{WaitFor.AVAILABLE.value}` by default.",
            reference("schemas", WaitFor.__name__),
            "available",
        ),
        _query(
            "uid",
            "The object that was written; with `resourceVersion` and `replicas`.",
            {"type": "string", "minLength": 1, "maxLength": 128},
            "8f3c2d5e",
        ),
        _query(
            "replicas",
            "The count that was written; with `uid` and `resourceVersion`.",
            {"type": "integer", "minimum": 0, "maximum": MAX_REPLICAS},
            5,
        ),
        _query(
            "parkId",
            "Only what was parked with this batch.",
            {"type": "string", "pattern": "^[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$"},
            "night",
        ),
        _query(
            "since",
            "Only changes from this time on (RFC 3339).",
            {"type": "string", "format": "date-time"},
            "2026-11-26T17:00:00Z",
        ),
        _query("access", "Whether to show what the caller may do to it.", {"type": "boolean"}, True),
        _query("dryRun", "Only try: nothing is stored.", reference("schemas", "DryRun"), "All"),
        _header(
            "Idempotency-Key",
            "The same write again under the same key is not done again: it gets the first answer.",
            {"type": "string", "pattern": '^("[!#-\\[\\]-~]{1,256}"|[!#-\\[\\]-~]{1,256})$'},
            '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
        ),
        _header(
            "If-Match",
            "Write only if the replicas still have this entity tag, or one of these.",
            {"type": "string", "pattern": f"^({_TAG}(, *{_TAG})*|\\*)$"},
            '"8f3c2d5e-7-3"',
        ),
        _header(
            "If-None-Match",
            "What the client has: if it is still so, the answer is a 304 without a body.",
            {"type": "string"},
            '"8f3c2d5e-48213-0a1b2c3d4e5f"',
        ),
    )
}
"""Every parameter by its name."""
