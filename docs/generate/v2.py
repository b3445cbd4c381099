"""API v2, from the document that kdm itself serves at /api/v2/openapi.json, and its table of problems."""

from __future__ import annotations

import json
from typing import Final

from docs.generate.operations import resolved
from kdm_core import DEFAULT_MAX_REPLICAS
from kdm_http.api.routes import ROUTES
from kdm_http.api.v2.openapi import describe_all
from kdm_http.api.v2.parameters import Json
from kdm_http.api.v2.problems import KINDS

API: Final = describe_all(ROUTES, DEFAULT_MAX_REPLICAS)


def describe_problems(_: str) -> str:
    """Return a table of every problem."""
    rows = ["| status | code | what it means | retryable |", "|---|---|---|---|"]
    for kind in KINDS.values():
        again = "yes" if kind.retryable else ""
        rows.append(f"| {kind.status} | `{kind.code}` | {_cell(kind.meaning)} | {again} |")
    return "\n".join(rows)


def describe_operation(operation_id: str) -> str:
    """Return an operation of API v2: its parameters, its body and its answers; a list of all where none is named."""
    if not operation_id:
        rows = ["| method | path | what |", "|---|---|---|"]
        rows += [
            f"| `{method.upper()}` | `{path}` | {item[method]['summary']} |"
            for path, item in API["paths"].items()
            for method in ("get", "put", "post")
            if "v2" in item.get(method, {}).get("tags", ())
        ]
        return "\n".join(rows)
    path, method, item = next(
        (path, method, item)
        for path, item in API["paths"].items()
        for method in ("get", "put", "post")
        if item.get(method, {}).get("operationId") == operation_id
    )
    operation = item[method]
    lines = [f"**`{method.upper()} {path}`**", ""]
    parameters = [resolved(each, API) for each in (*item.get("parameters", ()), *operation.get("parameters", ()))]
    if parameters:
        lines += ["| parameter | in | example | what |", "|---|---|---|---|"]
        for each in parameters:
            example = _cell(_shown(each["example"]))
            lines.append(f"| `{each['name']}` | {each['in']} | `{example}` | {_cell(each['description'])} |")
        lines.append("")
    if "requestBody" in operation:
        content = operation["requestBody"]["content"]["application/json"]
        schema = resolved(content["schema"], API)
        lines += ["The body:", "", "| field | required | type | what |", "|---|---|---|---|"]
        for name, each in schema["properties"].items():
            required = "yes" if name in schema["required"] else ""
            lines.append(f"| `{name}` | {required} | {_type(each)} | {each['description']} |")
        lines += ["", "No other field is allowed.", ""]
    statuses = ", ".join(operation["responses"])
    lines.append(f"Answers: {statuses}; see [problems](problems.md).")
    return "\n".join(lines)


def _type(schema: Json) -> str:
    schema = resolved(schema, API)
    if "anyOf" in schema:
        schema = resolved(schema["anyOf"][0], API)
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(each)}`" for each in schema["enum"])
    if "minimum" in schema:
        return f"an integer from {schema['minimum']} to {schema['maximum']}"
    length = f" of at most {schema['maxLength']} characters" if "maxLength" in schema else ""
    return f"{schema['type']}{length}"


def _shown(example: object) -> str:
    return example if isinstance(example, str) else json.dumps(example)


def _cell(text: str) -> str:
    """Return a text fit for a cell of a table."""
    return text.replace("|", "\\|")
