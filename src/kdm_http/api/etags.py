"""Conditional requests: whoever polls a list and has the newest list already is told so, instead of getting it again.

A single count has no tag, so the conditions of a write are judged without one.

The entity tag is a digest of the bytes: every replica of kdm gives the same one, before and after a restart, and it
stays while a Deployment changes in what is not told of it. A resourceVersion would do neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final

from litestar.types import HTTPResponseBodyEvent, HTTPResponseStartEvent, HTTPScope, Message, Send

from kdm_core import Deployment, PreconditionFailed

TAG_BYTES: Final = 8
"""Of the digest, in bytes: two answers of one URL are told apart, collisions are nothing anybody could gain from."""

TAGGED: Final = "/deployments"
"""How the templates of the routes end whose successful reads have a tag."""


def tag_of(body: bytes) -> bytes:
    """Return the strong entity tag of a body, as the field ``ETag`` has it (RFC 9110, section 8.8.3)."""
    return b'"%b"' % blake2b(body, digest_size=TAG_BYTES).hexdigest().encode()


def is_known(tag: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request's ``If-None-Match`` names a tag (RFC 9110, section 13.1.2).

    Args:
        tag: What :func:`tag_of` made.
        fields: The request's header fields, with names in lower case.
    """
    # Our tags are hexadecimal: as part of a list they are found nowhere but as a member, weak (W/) or strong.
    return any(tag in value or value.strip() == b"*" for name, value in fields if name == b"if-none-match")


def write_condition(fields: Iterable[tuple[bytes, bytes]]) -> Callable[[Deployment], None] | None:
    """Return what the conditions of a write come to (RFC 9110, sections 13.1 and 13.2); None where they are met.

    A count has neither an entity tag nor a date. So ``If-Match`` is met by ``*`` alone, ``If-None-Match`` by everything
    but ``*``, and ``If-Unmodified-Since`` is ignored; all of it for a Deployment that exists and that the caller may
    write, for any other error comes first.

    Args:
        fields: The request's header fields, with names in lower case.

    Returns:
        Raises PreconditionFailed for whatever Deployment it is given.
    """
    given: dict[bytes, list[bytes]] = {b"if-match": [], b"if-none-match": []}
    for name, value in fields:
        if name in given:
            given[name].append(value.strip())
    wanted, unwanted = given.values()
    if wanted and wanted != [b"*"]:
        message = "If-Match names an entity tag, and a replica count has none; the one value that is met is *"
    elif b"*" in unwanted:
        message = "If-None-Match: * wants a Deployment that does not exist, and this one does"
    else:
        return None

    def refuse(_: Deployment) -> None:
        raise PreconditionFailed(message)

    return refuse


def tagging(scope: HTTPScope, send: Send) -> Send:
    """Wrap an application's ``send``, so that lists have a tag or are a 304.

    Args:
        scope: The request. Its ``path_template`` is asked for when the response begins.
        send: Where the response goes.
    """
    held: HTTPResponseStartEvent | None = None

    async def send_tagged(message: Message) -> None:
        nonlocal held
        if message["type"] == "http.response.start":
            template = scope.get("path_template", "")
            if message["status"] == 200 and scope["method"] == "GET" and template.endswith(TAGGED):
                held = message  # the tag is of the body, which comes as one message after it
                return
        elif held is not None and message["type"] == "http.response.body":
            start, held = held, None
            tag = tag_of(message["body"])
            if is_known(tag, scope["headers"]):
                await send({**start, "status": 304, "headers": [(b"etag", tag)]})
                message = HTTPResponseBodyEvent(type="http.response.body", body=b"", more_body=False)
            else:
                await send({**start, "headers": [*start["headers"], (b"etag", tag)]})
        await send(message)

    return send_tagged
