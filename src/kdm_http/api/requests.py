"""What a request says, read strictly: its query, and its body."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NoReturn
from urllib.parse import parse_qsl

from litestar.exceptions import InternalServerException

from kdm_http.api.errors import BadRequest
from kdm_http.api.route import Request

_BODY: Final = 'the body must be a JSON object with exactly one field: {"replicaCount": <integer>}'
_NO_PARAMETERS: Final[Mapping[str, str]] = {}


def query_parameters(query: bytes, allowed: Collection[str]) -> Mapping[str, str]:
    """Return the parameters of a query.

    Args:
        query: The query, without its question mark.
        allowed: The names it may have.

    Raises:
        BadRequest: Another parameter is there, or one is there twice.
    """
    if not query:
        return _NO_PARAMETERS
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise BadRequest("the query is not valid: percent-encoded UTF-8 is allowed") from error
    for name, _ in pairs:
        if name not in allowed:
            listed = ", ".join(allowed) or "none"
            raise BadRequest(f"unknown query parameter {name[:80]!r}; allowed is: {listed}", allowed=allowed)
    parameters = dict(pairs)
    if len(parameters) < len(pairs):
        twice = next(name for name in parameters if sum(name == each for each, _ in pairs) > 1)
        raise BadRequest(f"the query parameter {twice!r} is given more than once")
    return parameters


async def replica_count(request: Request) -> int:
    """Return the ``replicaCount`` of a body; whether it is within bounds is for the domain to say.

    Raises:
        BadRequest: The media type is not JSON, or the body is anything but that one integer in an object.
    """
    document = await json_object(request, _BODY, "replicaCount")
    if "replicaCount" not in document:
        raise BadRequest(f"the field 'replicaCount' is missing: {_BODY}")
    if unknown := document.keys() - {"replicaCount"}:
        raise BadRequest(f"unknown field {min(unknown)[:80]!r}: {_BODY}")
    count = document["replicaCount"]
    if type(count) is not int:
        raise BadRequest(f"replicaCount must be an integer, not {_KINDS.get(type(count), 'that')}: {_BODY}")
    return count


async def json_object(request: Request, rule: str, number: str, *, decimals: bool = False) -> dict[str, Any]:
    """Return a body that is one JSON object. Its numbers are integers; no field is there twice.

    Args:
        request: Whose body.
        rule: What the body must be: the end of each error.
        number: What to call a number that is wrong.
        decimals: Whether numbers may have a fraction or an exponent: they are exact decimals then.

    Raises:
        BadRequest: The media type is not JSON, or the body is something else.
    """
    media_type = only(request, b"content-type", "Content-Type") or ""
    encoding = only(request, b"content-encoding", "Content-Encoding")
    media_type = media_type.partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise BadRequest(f"the media type {media_type[:80]!r} is not supported; send application/json", 415)
    if encoding is not None and encoding.lower() != "identity":
        raise BadRequest("a Content-Encoding is not supported; send the body as it is", 415)
    document = _decode(await request.read_body(), rule, number, decimals=decimals)
    if not isinstance(document, dict):
        raise BadRequest(f"not an object: {rule}")
    return document


async def whole_body(read: Callable[[], Awaitable[bytes]]) -> bytes:
    """Return a body, as Litestar reads it.

    Raises:
        BadRequest: The client left before its end.
    """
    try:
        return await read()
    except InternalServerException as error:  # nobody is left to read the answer, but it is no error of ours
        raise BadRequest("the connection ended before the body did") from error


def only(request: Request, name: bytes, shown: str) -> str | None:
    """Return the value of a header field that may be there once; None where it is not there.

    Raises:
        BadRequest: It is there more than once.
    """
    values = [value for each, value in request.fields if each == name]
    if len(values) > 1:  # which of them is meant is anybody's guess: RFC 9110, section 5.3
        raise BadRequest(f"the field {shown} is given more than once")
    return values[0].decode("latin-1") if values else None


def _decode(body: bytes, rule: str, number: str, *, decimals: bool) -> Any:
    def integers_only(literal: str) -> NoReturn:
        raise BadRequest(f"{number} must be an integer, not {literal[:40]}: {rule}")

    def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise BadRequest(f"a field is given more than once: {rule}")
        return members

    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=once_each,
            parse_float=Decimal if decimals else integers_only,
            parse_constant=integers_only,
        )
    except RecursionError as error:
        raise BadRequest(f"the body is nested too deeply: {rule}") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: {rule}") from error
    except json.JSONDecodeError as error:
        raise BadRequest(f"malformed JSON at character {error.pos + 1}, {error.msg}: {rule}") from error
    except (ValueError, InvalidOperation) as error:  # an integer of thousands of digits, an exponent of twenty
        raise BadRequest(f"{number} is out of all bounds: {rule}") from error


_KINDS: Final[dict[type, str]] = {
    bool: "a boolean",
    str: "a string",
    type(None): "null",
    list: "an array",
    dict: "an object",
}
