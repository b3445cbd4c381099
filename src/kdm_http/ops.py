"""The plain listener's application: probes and metrics for clients without certificates. It has no API route."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from litestar import Litestar, Request, Response, get
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from kdm_core import ALL_NAMESPACES, DeploymentService, SourceStatus, Trouble
from kdm_http.api.errors import HANDLERS, problem

Metrics = Callable[[str], tuple[bytes, str]]
"""Renders the metrics for an ``Accept`` header: their bytes and content type."""

_ALLOWED: Final = b"GET, HEAD, OPTIONS"


def create_ops_app(service: DeploymentService, metrics: Metrics) -> ASGIApp:
    """Make the probes and metrics.

    Args:
        service: Its cache's state decides readiness; the cluster is never asked.
        metrics: What ``/metrics`` answers.
    """

    @get("/livez", sync_to_thread=False)
    def livez() -> Response[dict[str, str]]:
        """Answer 200 while the event loop runs. Troubles of the cluster are no reason to restart kdm."""
        return Response({"status": "alive"})

    @get("/readyz", sync_to_thread=False)
    def readyz(request: Request[Any, Any, Any]) -> Response[dict[str, str]]:
        """Answer 200 if reads can be served: at least one source has a complete snapshot, and kdm is not stopping."""
        stopping = request.scope.get("state", {}).get("stopping")
        if stopping is not None and stopping.is_set():
            return problem(503, "stopping")
        sync = service.sync_status()
        return Response({"status": "ready"}) if sync.serving else problem(503, not_synced(sync.sources))

    @get("/metrics", sync_to_thread=False)
    def get_metrics(request: Request[Any, Any, Any]) -> Response[bytes]:
        """Return the metrics."""
        body, media_type = metrics(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type})  # as it is: Litestar would add a second charset

    return _with_head(
        Litestar(
            [livez, readyz, get_metrics],
            exception_handlers={**HANDLERS, 404: _no_such_route},
            openapi_config=None,
            logging_config=None,
            request_max_body_size=0,
        )
    )


def not_synced(sources: Sequence[SourceStatus]) -> str:
    """Return what anybody may know of sources that have not been read yet: their names and the kind of trouble.

    Messages of the cluster, a credential plugin or a file are only in the log, and in ``/health`` for known clients.
    """
    named = [f"{_name(each)}: {(each.trouble or Trouble.NOT_READ).value}" for each in sources[:_NAMED]]
    more = [f"{len(sources)} namespaces in all"] if len(sources) > _NAMED else []
    return "not synced yet" + (f" ({'; '.join([*named, *more])})" if named else "")


def _name(source: SourceStatus) -> str:
    return "all namespaces" if source.source == ALL_NAMESPACES else f"namespace '{source.source}'"


_NAMED: Final = 3
"""How many sources an answer names."""


def _with_head(app: Litestar) -> ASGIApp:
    """Serve HEAD as GET, and name it in Allow. The server leaves the body out (RFC 9110, section 9.3.2)."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_allowing(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                message["headers"] = [(name, _ALLOWED if name.lower() == b"allow" else each) for name, each in headers]
            await send(message)

        if scope["type"] == ScopeType.HTTP and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await app(scope, receive, send_allowing)

    return serve


def _no_such_route(_: Request[Any, Any, Any], __: Exception) -> Response[dict[str, str]]:
    return problem(404, "no such route here; there are /livez, /readyz and /metrics")
