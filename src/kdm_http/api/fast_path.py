"""The hot path: a plain read that succeeds is answered where it arrives, without a task, a router or a queue.

The server asks the application's shortcut first. None means: go the long way, through ASGI and Litestar. The shortcut
knows no error: whatever is not a plain GET or HEAD of one Deployment or of the list, spelled as everybody spells it and
answered with 200 or 304, is for the long way, which alone audits, logs and explains what went wrong. Both ways give the
same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from time import monotonic
from typing import Final

import msgspec
import structlog
from attrs import frozen

from kdm_core import Deployment, DeploymentService, Identity
from kdm_http.api import rfd001, rfd156
from kdm_http.api.etags import is_known, tag_of
from kdm_http.api.remembered_lists import RememberedLists
from kdm_http.request_id import request_id_of
from kdm_http.server.application import Fields, Ready
from kdm_http.tls.peer import Peer

Observe = Callable[[str, str, int, float, str], None]

_REPLICAS: Final = b"/replicas"
_is_plain_query: Final = re.compile(rb"namespace=([a-z0-9-]+|\*)").fullmatch
_log = structlog.get_logger("kdm.access")


@frozen
class _Route:
    """A dialect's pair of reads."""

    list_template: str
    get_template: str
    one: Callable[[Deployment], msgspec.Struct]


_ROUTES: Final = {
    b"/deployments": _Route("/deployments", "/deployments/{name}/replicas", rfd001.ReplicaCount.of),
    b"/api/v1/deployments": _Route(
        "/api/v1/deployments", "/api/v1/deployments/{name}/replicas", rfd156.ReplicaCount.of
    ),
}


class Shortcut:
    """Answers the reads of both dialects.

    Args:
        service: The use cases.
        observe: Told of every answer; see :func:`kdm_http.api.app.create_app`.
        always: Header fields that every answer has.
        log_requests: Whether to log one line for each request.
    """

    def __init__(self, service: DeploymentService, observe: Observe, always: Fields, *, log_requests: bool) -> None:
        self._service = service
        self._observe = observe
        self._log_requests = log_requests
        fields = b"%b" + b"".join(b"%b: %b\r\n" % field for field in always) + b"x-request-id: %b\r\n\r\n"
        self._head = b"content-type: application/json\r\ncontent-length: %d\r\n" + fields
        self._head_of_known = fields
        self._encode = msgspec.json.Encoder().encode
        self._lists = RememberedLists()

    def __call__(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Ready | None:
        """Answer, or return None; see :data:`~kdm_http.server.application.AnswerAtOnce`."""
        started = monotonic()
        path, _, query = target.partition(b"?")
        namespace: str | None = None
        if query:
            plain = _is_plain_query(query)
            if plain is None:
                return None
            namespace = plain[1].decode()
        who, status, tag_field = peer.identity, 200, b""
        try:
            if path.endswith(_REPLICAS):
                collection, _, name = path[: -len(_REPLICAS)].rpartition(b"/")
                route = _ROUTES[collection]
                template = route.get_template
                found = self._service.peek(name.decode("ascii"), namespace, actor=who)
                if found is None:
                    return None
                body = self._encode(route.one(found))
            else:
                route = _ROUTES[path]
                template = route.list_template
                listed = self._service.peek_list(namespace, actor=who)
                if listed is None:
                    return None
                body, tag = self._listed(path, route, listed, namespace, who)
                tag_field = b"etag: %b\r\n" % tag
                if is_known(tag, fields):
                    status = 304
        except Exception:  # noqa: BLE001 - no such route, or a defect, which the long way meets again and tells
            return None
        identifier = request_id_of(fields)
        seconds = monotonic() - started
        self._observe(method.decode(), template, status, seconds, who.user)
        if self._log_requests:
            _log.info(
                "request",
                request_id=identifier,
                method=method.decode(),
                path=path[:200].decode(),
                status=status,
                user=who.user,
                seconds=round(seconds, 6),
            )
        if status == 304:
            return Ready(status, self._head_of_known % (tag_field, identifier.encode()), b"")
        return Ready(status, self._head % (len(body), tag_field, identifier.encode()), body)

    def _listed(
        self, path: bytes, route: _Route, deployments: tuple[Deployment, ...], namespace: str | None, who: Identity
    ) -> tuple[bytes, bytes]:
        """Return an encoded list and its tag."""
        lists = self._lists
        listed = lists.whole(path, namespace, deployments)
        if listed is not None:
            return listed
        sees_all = self._service.sees_all(namespace, actor=who)
        listed = None if sees_all else lists.part(path, deployments)
        if listed is None:
            body = self._encode([route.one(each) for each in deployments])
            listed = body, tag_of(body)
            if sees_all:
                lists.keep_whole(path, namespace, deployments, listed)
            else:
                lists.keep_part(path, deployments, listed)
        return listed
