"""Traces by OpenTelemetry: a span for each request, sent by OTLP over HTTP. Needs kdm's extra ``otel``.

Nothing imports this module unless traces are asked for: a kdm that sends none neither needs nor loads OpenTelemetry.
The standard variables say where spans go and which are kept (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``,
...: "OpenTelemetry Environment Variable Specification").
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Final, Self

import structlog
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from kdm_core.version import installed_version
from kdm_http.api.answered import Answered
from kdm_http.api.routes import dialect_of
from kdm_http.server.application import Application, Fields, Ready
from kdm_http.tls.peer import Peer

FLUSH_S: Final = 3.0
"""How long the last spans may take at the end, in seconds, before a collector that does not answer is given up."""

_PROPAGATED: Final = frozenset({b"traceparent", b"tracestate"})
_propagator: Final = TraceContextTextMapPropagator()


class Tracing:
    """Where spans are made and sent to, as long as the context lasts.

    Args:
        exporter: Where they go; None for the collector that the standard variables name.
    """

    def __init__(self, exporter: SpanExporter | None = None) -> None:
        self._exporter = exporter or OTLPSpanExporter()
        named = {"service.name": "kdm", "service.version": installed_version()}
        given = OTELResourceDetector().detect().attributes
        self._provider = TracerProvider(resource=Resource.create({**named, **given}), shutdown_on_exit=False)
        self.tracer: Tracer = self._provider.get_tracer("kdm", installed_version())

    async def __aenter__(self) -> Self:
        # Not before: its thread begins at once.
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        """Send what is left."""
        ending = asyncio.create_task(asyncio.to_thread(self._provider.shutdown))
        await asyncio.wait({ending}, timeout=FLUSH_S)
        if not ending.done():
            self._exporter.shutdown()  # it stops to try again
        await ending


class Traced:
    """An application whose requests leave a span each, continuing the trace that a W3C ``traceparent`` names.

    A request's route, status and user are what its application tells its observers. So this is made in two steps:
    make the application with this one's ``observe`` among its observers, then set ``app``.

    Args:
        tracer: What makes the spans.

    Attributes:
        app: What answers.
    """

    app: Application

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._observed = Answered("", "", 0, 0.0, "")

    def observe(self, answered: Answered) -> None:
        """Note what became of a request: an observer. It is the one whose span is the current one, if any is."""
        self._observed = answered
        _describe(trace.get_current_span(), answered)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, as ASGI wants it."""
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        parent = _parent(scope["headers"])
        with self._tracer.start_as_current_span(scope["method"], context=parent, kind=SpanKind.SERVER) as span:
            made = span.get_span_context()
            if made.is_valid:  # OTEL_SDK_DISABLED makes none
                structlog.contextvars.bind_contextvars(trace_id=trace.format_trace_id(made.trace_id))
            await self.app(scope, receive, send)

    def answer_at_once(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Ready | None:
        """Answer at once, or not; see :data:`kdm_http.api.fast_path.AnswerAtOnce`."""
        started_ns = time.time_ns()
        ready = self.app.answer_at_once(method, target, fields, peer)
        if ready is not None:
            span = self._tracer.start_span("", context=_parent(fields), kind=SpanKind.SERVER, start_time=started_ns)
            _describe(span, self._observed)
            span.end()
        return ready


def _parent(fields: Iterable[tuple[bytes, bytes]]) -> Context:
    """Return the context that a request's header fields name; an empty one where they name none, or a malformed one."""
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in fields if name in _PROPAGATED}
    return _propagator.extract(carrier, Context())


def _describe(span: Span, answered: Answered) -> None:
    """Name a span and give it the attributes of "Semantic conventions for HTTP spans", and kdm's own."""
    if not span.is_recording():
        return
    method, route, status = answered.method, answered.route, answered.status
    span.update_name(f"{method} {route}" if route else method)
    span.set_attribute("http.request.method", method)
    span.set_attribute("url.scheme", "https")
    span.set_attribute("enduser.id", answered.user)
    span.set_attribute("kdm.dialect", dialect_of(route))
    span.set_attribute("kdm.request_id", answered.request_id)
    if route:
        span.set_attribute("http.route", route)
    if status:
        span.set_attribute("http.response.status_code", status)
    if status >= 500:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)
