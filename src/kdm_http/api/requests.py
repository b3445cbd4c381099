"""What a request says, read strictly: its id, in which namespace, for how many replicas."""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.exceptions import InternalServerException
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from kdm_core import ALL_NAMESPACES, DeploymentService
from kdm_core import Caller as CoreCaller
from kdm_core.names import check_namespace
from kdm_http.api.errors import BadRequest

Service = NamedDependency[DeploymentService]
Caller = NamedDependency[CoreCaller]
Namespace = NamedDependency[str | None]
"""What a handler is given by the app: the use cases, who asks and with which request, and ``?namespace=``."""

_BODY: Final = 'the body must be a JSON object with exactly one field: {"replicaCount": <integer>}'


def namespace(scope: Scope) -> str | None:
    """Return the ``namespace`` query parameter, None where it is absent.

    Raises:
        BadRequest: Another parameter is there, or it is there twice.
    """
    query = scope["query_string"]
    if not query:
        return None
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("the query is not valid: percent-encoded UTF-8 is allowed") from error
    values = [value for name, value in pairs if name == "namespace"]
    if len(values) != len(pairs):
        unknown = next(name for name, _ in pairs if name != "namespace")
        raise BadRequest(f"unknown query parameter {unknown[:80]!r}; allowed is: namespace")
    if len(values) > 1:
        raise BadRequest("the query parameter 'namespace' is given more than once")
    return values[0] if values else None


def query_is_known(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard a route that has no use for a namespace: a client may append one to every URL, but nothing else."""
    given = namespace(connection.scope)
    if given is not None and given != ALL_NAMESPACES:
        check_namespace(given)


async def replica_count(request: Request[Any, Any, Any]) -> int:
    """Return the ``replicaCount`` of a body; whether it is within bounds is for the domain to say.

    Raises:
        BadRequest: The media type is not JSON, or the body is anything but that one integer in an object.
    """
    for name in ("Content-Type", "Content-Encoding"):
        if (
            len(request.headers.getall(name, [])) > 1
        ):  # which of them is meant is anybody's guess: RFC 9110, section 5.3
            raise BadRequest(f"the field {name} is given more than once")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise BadRequest(f"the media type {media_type[:80]!r} is not supported; send application/json", 415)
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise BadRequest("a Content-Encoding is not supported; send the body as it is", 415)
    try:
        body = await request.body()
    except InternalServerException as error:  # nobody is left to read the answer, but it is no error of ours
        raise BadRequest("the connection ended before the body did") from error
    document = _decode(body)
    if not isinstance(document, dict):
        raise BadRequest(f"not an object: {_BODY}")
    if "replicaCount" not in document:
        raise BadRequest(f"the field 'replicaCount' is missing: {_BODY}")
    if unknown := document.keys() - {"replicaCount"}:
        raise BadRequest(f"unknown field {min(unknown)[:80]!r}: {_BODY}")
    count = document["replicaCount"]
    if type(count) is not int:
        raise BadRequest(f"replicaCount must be an integer, not {_KINDS.get(type(count), 'that')}: {_BODY}")
    return count


def _decode(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode("utf-8"), object_pairs_hook=_object, parse_float=_no_integer, parse_constant=_no_integer
        )
    except RecursionError as error:
        raise BadRequest(f"the body is nested too deeply: {_BODY}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {_BODY}") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"malformed JSON at character {error.pos + 1}, {error.msg}: {_BODY}") from error
    except ValueError as error:  # an integer of thousands of digits
        raise BadRequest(f"replicaCount is out of all bounds: {_BODY}") from error


_KINDS: Final[dict[type, str]] = {
    bool: "a boolean",
    str: "a string",
    type(None): "null",
    list: "an array",
    dict: "an object",
}


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadRequest(f"a field is given more than once: {_BODY}")
    return members


def _no_integer(literal: str) -> NoReturn:
    raise BadRequest(f"replicaCount must be an integer, not {literal[:40]}: {_BODY}")
