"""Conditional requests: a client that polls a list and has the newest one gets a 304 instead of the same list again.

A single count has no tag, so the conditions of a write are judged without one.

The entity tag is a digest of the bytes: every replica of kdm gives the same one, before and after a restart, and it
stays while a Deployment changes in what the list does not show. A resourceVersion would do neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final

from kdm_core import Deployment, PreconditionFailed

TAG_BYTES: Final = 8
"""Of the digest, in bytes: two answers of one URL are distinguished, collisions are nothing anybody could gain from."""


def tag_of(body: bytes) -> bytes:
    """Return the strong entity tag of a body, as the field ``ETag`` has it (RFC 9110, section 8.8.3)."""
    return b'"%b"' % blake2b(body, digest_size=TAG_BYTES).hexdigest().encode()


def is_known(tag: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a request's ``If-None-Match`` names a tag (RFC 9110, section 13.1.2).

    Args:
        tag: The entity tag, strong or weak: here the comparison is weak (RFC 9110, section 13.1.2). Empty for none,
            which no request can name.
        fields: The request's header fields, with names in lower case.
    """
    # Our tags have neither quotes nor commas within: in a list they are found nowhere but as a member, weak or strong.
    opaque = tag.removeprefix(b"W/")
    conditions = [value for name, value in fields if name == b"if-none-match"] if tag else []
    return any(opaque in value or value.strip() == b"*" for value in conditions)


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
