"""History in API v2: who changed which count, the newest change first."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from typing import Final, Self

import msgspec

from kdm_core import ALL_NAMESPACES, Caller, DeploymentService, InvalidQuery, LabelSelector
from kdm_core.history import HistoryQuery
from kdm_core.names import check_namespace
from kdm_http.api.errors import BadRequest, Refused
from kdm_http.api.route import Reply, Request
from kdm_http.api.v2.asked import count, ref_of
from kdm_http.api.v2.history_bodies import HistoryBody
from kdm_http.api.v2.pages import decoded, digest_of, encoded, unreadable

PAGE: Final = 500
"""How many changes a page has at most where the client does not say."""

_PROCESS: Final = uuid.uuid4().hex[:12]
"""Of a token: each kdm has seen what it has seen, and numbers it by itself."""

_VERSION: Final = 1


class _Continue(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a token holds: the form's version, the process, before which change the page begins, and for which filters.

    It is no secret and gives no right.
    """

    version: int
    process: str
    before: int
    filters: str

    @classmethod
    def read(cls, token: str, filters: str) -> Self:
        """Read a token.

        Raises:
            Refused: It is not readable, or another process' own.
            InvalidQuery: It belongs to other filters.
        """
        found = decoded(token, cls)
        if found.version != _VERSION:
            raise unreadable()
        if found.process != _PROCESS:
            raise Refused(
                "continue-unreadable",
                410,
                "continue: the token is of another kdm process, which has seen other changes; begin again, without it",
            )
        if found.filters != filters:
            raise InvalidQuery(
                "continue: the token belongs to other filters; send it with the same path, labelSelector and since as "
                "the page that it came from"
            )
        return found


def get_history(service: DeploymentService, caller: Caller, request: Request) -> Reply:
    """Return who changed the count of one Deployment."""
    _check_kept(service)
    since, limit = _since(request.query), count(request.query, "limit", 1)
    return Reply(HistoryBody.of(service.history(ref_of(request), caller, since=since, limit=limit)))


def list_history(service: DeploymentService, caller: Caller, request: Request) -> Reply:
    """Return who changed which counts, of all Deployments that the caller may read."""
    _check_kept(service)
    query = request.query
    namespace = request.path.get("namespace", ALL_NAMESPACES)
    if "namespace" in request.path:
        check_namespace(namespace)
    selector = LabelSelector.parse(query.get("labelSelector", ""))
    since, limit = _since(query), count(query, "limit", 1) or PAGE
    filters = digest_of("history", namespace, str(selector), str(since))
    before = _Continue.read(query["continue"], filters).before if "continue" in query else None
    page = service.recent_changes(HistoryQuery(namespace, selector, since, limit, before), caller)
    token = None if page.next is None else encoded(_Continue(_VERSION, _PROCESS, page.next, filters))
    return Reply(HistoryBody.of(page, token))


def _check_kept(service: DeploymentService) -> None:
    if not service.keeps_history:
        raise Refused("not-supported", 400, "this kdm keeps no history: its setting history-entries is 0")


def _since(query: Mapping[str, str]) -> int | None:
    """Return from when on changes are asked for, in seconds since 1970."""
    text = query.get("since")
    if text is None:
        return None
    upper = text.upper()  # RFC 3339, section 5.6: "t" and "z" mean the same
    try:
        moment = datetime.fromisoformat(upper)
        if moment.tzinfo is not None and "T" in upper:
            return int(moment.timestamp())
    except (ValueError, OverflowError):
        pass
    raise BadRequest(
        "since: must be a time with its offset from UTC (RFC 3339): 2026-11-26T17:00:00Z, or with +01:00, + as %2B, "
        f"not {text[:40]!r}"
    )
