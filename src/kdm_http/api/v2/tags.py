"""Entity tags of API v2, and the conditions of a write that name them (RFC 9110, sections 8.8.3 and 13.1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Final, Literal

from kdm_core import Deployment, PreconditionFailed
from kdm_http.api.errors import BadRequest

_TAG: Final = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')

MAX_GENERATION_DIGITS: Final = 19
"""A generation is an int64."""

Tags = Literal["*"] | list[tuple[str, str]]
"""What a condition names: anything, or tags, each with its mark of weakness."""


def tag_of_deployment(deployment: Deployment, body: bytes) -> bytes:
    """Return the tag of one Deployment: it changes with every change of the object, and of what is shown of it.

    The version alone is not enough. After a write of kdm's own, a read shows the version of the write with the status
    that was known before it, until the watch brings what the cluster has at that version.

    Args:
        deployment: The Deployment.
        body: What the answer shows.
    """
    shown = blake2b(body, digest_size=6).hexdigest()
    return f'"{deployment.uid}-{deployment.resource_version}-{shown}"'.encode()


def tag_of_replicas(deployment: Deployment) -> bytes:
    """Return the tag of what ``/replicas`` shows. Its Pods' status does not change it.

    The generation counts every change of the spec. It is not known for certain until the watch has delivered a write
    of kdm's own, so the count is part of the tag: two states with different counts never have the same.
    """
    return f'"{deployment.uid}-{deployment.generation}-{deployment.replicas.desired}"'.encode()


def write_condition(fields: Iterable[tuple[bytes, bytes]]) -> Callable[[Deployment], None] | None:
    """Return the conditions of a write to ``/replicas``; None where there are none, or they hold for any Deployment.

    ``If-Match: *`` holds for any: without a Deployment, the write is a 404. Weak tags never match in ``If-Match``.

    Args:
        fields: The request's header fields, with names in lower case.

    Returns:
        Raises PreconditionFailed for a Deployment that does not meet them.

    Raises:
        BadRequest: One cannot be read. To ignore it could write what it was to prevent.
    """
    wanted, unwanted = _tags(fields, "If-Match"), _tags(fields, "If-None-Match")
    strong = {tag for weak, tag in wanted or () if not weak} if wanted != "*" else set()
    known = {tag for _, tag in unwanted or ()} if unwanted != "*" else set()
    if wanted in (None, "*") and unwanted is None:
        return None

    def check(found: Deployment) -> None:
        tag = tag_of_replicas(found).decode().strip('"')
        if wanted is not None and wanted != "*" and tag not in strong:
            error = PreconditionFailed(
                f"Deployment '{found.ref}' has changed: its replicas have the entity tag \"{tag}\" now, and If-Match "
                "names another"
            )
            error.current, error.maybe_later = found, any(_may_come(each, found) for each in strong)
            raise error
        if unwanted is not None and (unwanted == "*" or tag in known):
            error = PreconditionFailed(f"If-None-Match names the replicas of Deployment '{found.ref}' as they are")
            error.current = found
            raise error

    return check


def plans_wanted(fields: Iterable[tuple[bytes, bytes]]) -> frozenset[str] | None:
    """Return the plans that a request's ``If-Match`` names; None where it names none. Weak tags never match.

    Raises:
        BadRequest: It cannot be read, or it names no plan. To ignore it could do what was not shown.
    """
    wanted = _tags(fields, "If-Match")
    if _tags(fields, "If-None-Match") is not None:
        raise BadRequest("If-None-Match has no meaning here; If-Match names the plan that is to be done")
    if wanted == "*":
        raise BadRequest("If-Match: * names no plan; send the ETag of the plan's answer, or leave it out")
    return None if wanted is None else frozenset(tag for weak, tag in wanted if not weak)


def _tags(fields: Iterable[tuple[bytes, bytes]], name: str) -> Tags | None:
    """Return what a condition names; None where it is not there."""
    lower = name.lower().encode()
    values = [value.decode("latin-1").strip() for each, value in fields if each == lower]
    if not values:
        return None
    text = ", ".join(values)
    if text == "*":
        return "*"
    tags: list[tuple[str, str]] = _TAG.findall(text)
    if not tags or _TAG.sub("", text).strip(" \t,"):
        raise BadRequest(
            f'{name}: must be * alone, or entity tags in double quotes, such as "8f3c2d5e-7-3", not {text[:80]!r}'
        )
    return tags


def _may_come(tag: str, found: Deployment) -> bool:
    """Whether a tag may be that of a state newer than the one found: the cache may be behind the client."""
    of_object, _, _ = tag.rpartition("-")
    uid, _, generation = of_object.rpartition("-")
    if uid != found.uid:
        return True
    return generation.isdecimal() and len(generation) <= MAX_GENERATION_DIGITS and int(generation) >= found.generation
