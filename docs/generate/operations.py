"""The API's operations, from the document that kdm itself serves at /api/v1/openapi.json."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from kdm_core import DEFAULT_MAX_REPLICAS
from kdm_http.api.openapi import Json, describe
from kdm_http.api.routes import ROUTES

API: Final = describe(ROUTES, DEFAULT_MAX_REPLICAS)
_METHODS: Final = ("get", "put", "post", "patch", "delete")


def operations() -> Iterator[tuple[str, str, Json, Json]]:
    """Return each operation: its method, path, parameters' owner and itself."""
    for path, item in API["paths"].items():
        for method in _METHODS:
            if method in item:
                yield method, path, item, item[method]


def resolved(value: Any, document: Json = API) -> Any:
    """Follow a reference within a document."""
    while isinstance(value, dict) and "$ref" in value:
        target: Any = document
        for step in value["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        value = target
    return value


def list_operations(tag: str) -> str:
    """Return a table of a dialect's operations; of both without a tag."""
    rows = ["| method | path | what |", "|---|---|---|"]
    for method, path, _, operation in operations():
        if not tag or tag in operation["tags"]:
            rows.append(f"| `{method.upper()}` | `{path}` | {operation['summary']} |")
    return "\n".join(rows)


def describe_operation(operation_id: str) -> str:
    """Return an operation's parameters, body and answers."""
    method, path, item, operation = next(each for each in operations() if each[3]["operationId"] == operation_id)
    lines = [
        f"**`{method.upper()} {path}`**",
        "",
        "| parameter | in | required | allowed | what |",
        "|---|---|---|---|---|",
    ]
    for parameter in map(resolved, item["parameters"]):
        required = "yes" if parameter.get("required") else "no"
        allowed = _allowed(parameter["schema"])
        lines.append(
            f"| `{parameter['name']}` | {parameter['in']} | {required} | {allowed} | {parameter['description']} |"
        )
    if body := operation.get("requestBody"):
        (media_type, content), *_ = body["content"].items()
        lines += ["", f"The body, required, `{media_type}`:", "", "| field | allowed |", "|---|---|"]
        schema = resolved(content["schema"])
        lines += [f"| `{name}` | {_allowed(each)} |" for name, each in schema["properties"].items()]
        lines += ["", "No other field is allowed."]
    lines += ["", "| status | when | body, for example |", "|---|---|---|"]
    for status, answer in operation["responses"].items():
        told = resolved(answer)
        content = told.get("content")
        example = f"`{_cell(json.dumps(content['application/json']['example']))}`" if content else ""
        meaning = told["description"] if status < "400" or "$ref" not in answer else _linked(status, told)
        lines.append(f"| {status} | {meaning} | {example} |")
    return "\n".join(lines)


def _linked(status: str, told: Json) -> str:
    return f"[{told['description']}](errors.md#s{status})"


def _allowed(schema: Json) -> str:
    if schema["type"] == "integer":
        return f"an integer from {schema['minimum']} to {schema['maximum']}"
    pattern: str = schema["pattern"]
    end = f", at most {schema['maxLength']} characters"
    if pattern.startswith("^(\\*|"):  # in a table, a '|' is the end of a cell
        return "`*`, or `^" + pattern.removeprefix("^(\\*|").removesuffix(")$") + f"$`{end}"
    return f"`{pattern}`{end}"


def _cell(text: str) -> str:
    """Return a text fit for a cell of a table."""
    return text.replace("|", "\\|")
