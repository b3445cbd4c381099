"""The traces that a request leaves, and that none are left, or loaded, where nobody asked for them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, Final

import httpx
import pytest
import structlog
from dependency_injector import providers
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from kdm_cli.container import Container
from kdm_cli.settings import Settings
from kdm_core import Identity
from kdm_http.telemetry.tracing import Tracing

TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID: Final = "b7ad6b7169203331"
TRACEPARENT: Final = f"00-{TRACE_ID}-{PARENT_ID}-01"
PEER: Final[Any] = SimpleNamespace(identity=Identity("alice"))


class Observed:
    """kdm with traces, and the spans it sent."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.container = Container(settings=Settings(policy_file="allow-all", audit_file="none", log_requests=True))
        self.container.tracing.override(providers.Singleton(Tracing, self.exporter))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[httpx.AsyncClient]:
        api = self.container.api()

        async def admitted(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {"peer": PEER}
            await api(scope, receive, send)

        transport = httpx.ASGITransport(admitted, raise_app_exceptions=False)
        async with (
            self.container.lifespan(),
            httpx.AsyncClient(transport=transport, base_url="https://kdm.test") as client,
        ):
            await self.container.repository().wait_synced(5)
            yield client

    @property
    def spans(self) -> list[ReadableSpan]:
        """What was sent until the end."""
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def kdm() -> Observed:
    return Observed()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_request_leaves_a_span_that_tells_route_status_dialect_and_user(kdm: Observed) -> None:
    async with kdm.client() as client:
        await client.get("/api/v1/deployments/nginx-deployment/replicas", headers={"x-request-id": "abc"})
    (span,) = kdm.spans
    assert span.name == "GET /api/v1/deployments/{name}/replicas"
    assert span.kind is SpanKind.SERVER
    assert attributes(span) == {
        "http.request.method": "GET",
        "http.route": "/api/v1/deployments/{name}/replicas",
        "http.response.status_code": 200,
        "url.scheme": "https",
        "enduser.id": "alice",
        "kdm.dialect": "rfd156",
        "kdm.request_id": "abc",
    }
    assert span.resource.attributes["service.name"] == "kdm"


async def test_an_answer_given_at_once_leaves_the_same_span(kdm: Observed) -> None:
    """The fast path and the application say the same of a request."""
    target, fields = "/deployments/nginx-deployment/replicas", {"x-request-id": "abc", "traceparent": TRACEPARENT}
    async with kdm.client() as client:
        await client.get(target, headers=fields)
        raw = [(name.encode(), value.encode()) for name, value in fields.items()]
        assert kdm.container.api().answer_at_once(b"GET", target.encode(), raw, PEER) is not None
    long_way, at_once = kdm.spans
    assert attributes(at_once) == attributes(long_way)
    assert (at_once.name, at_once.kind) == (long_way.name, long_way.kind)
    assert at_once.context.trace_id == long_way.context.trace_id
    assert at_once.parent == long_way.parent
    assert at_once.start_time is not None
    assert at_once.end_time is not None
    assert at_once.start_time <= at_once.end_time


@pytest.mark.parametrize("target", ["/deployments/none/replicas", "/deployments/n%6Fne/replicas"])
async def test_a_read_that_fails_leaves_one_span_whichever_way_it_takes(kdm: Observed, target: str) -> None:
    async with kdm.client() as client:
        if kdm.container.api().answer_at_once(b"GET", target.encode(), [], PEER) is None:
            await client.get(target)
    (span,) = kdm.spans
    assert attributes(span)["http.response.status_code"] == 404
    assert span.status.status_code is StatusCode.UNSET, "a wrong request is no error of the server"


async def test_a_write_has_a_child_span_for_the_cluster(kdm: Observed) -> None:
    async with kdm.client() as client:
        await client.post("/deployments/nginx-deployment/replicas", json={"replicaCount": 6})
    write, request = kdm.spans
    assert write.name == "set replicas"
    assert write.parent is not None
    assert write.parent.span_id == request.context.span_id
    assert write.context.trace_id == request.context.trace_id


async def test_the_callers_trace_is_continued(kdm: Observed) -> None:
    async with kdm.client() as client:
        await client.get("/deployments", headers={"traceparent": TRACEPARENT})
    (span,) = kdm.spans
    assert format_trace_id(span.context.trace_id) == TRACE_ID
    assert span.parent is not None
    assert format_span_id(span.parent.span_id) == PARENT_ID


@pytest.mark.parametrize(
    "malformed", ["", "00-zz-zz-01", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "\xff", "a" * 9000]
)
async def test_a_malformed_traceparent_begins_a_new_trace(kdm: Observed, malformed: str) -> None:
    async with kdm.client() as client:
        answer = await client.get("/deployments", headers={b"traceparent": malformed.encode("latin-1")})
        assert answer.status_code == 200
    (span,) = kdm.spans
    assert span.parent is None
    assert span.context.trace_id


async def test_what_the_caller_did_not_sample_is_not_sent(kdm: Observed) -> None:
    """Sampling is parent-based, the SDK's default."""
    async with kdm.client() as client:
        await client.get("/deployments", headers={"traceparent": TRACEPARENT[:-2] + "00"})
    assert kdm.spans == []


async def test_a_request_that_no_route_matches_and_one_that_fails(kdm: Observed) -> None:
    async with kdm.client() as client:
        await client.get("/nowhere")
        kdm.container.repository().faults.unreachable = True
        await client.post("/deployments/nginx-deployment/replicas", json={"replicaCount": 6})
    unmatched, write, failed = kdm.spans
    assert unmatched.name == "GET"
    assert attributes(unmatched)["kdm.dialect"] == "none"
    assert write.status.status_code is StatusCode.ERROR
    assert failed.status.status_code is StatusCode.ERROR
    assert attributes(failed)["error.type"] == "503"


async def test_the_service_can_be_given_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The standard variables win over what kdm calls itself."""
    monkeypatch.setenv("OTEL_SERVICE_NAME", "kdm-staging")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=staging")
    kdm = Observed()
    async with kdm.client() as client:
        await client.get("/deployments")
    (span,) = kdm.spans
    assert span.resource.attributes["service.name"] == "kdm-staging"
    assert span.resource.attributes["deployment.environment"] == "staging"


async def test_lines_of_a_traced_request_have_its_trace_id(kdm: Observed) -> None:
    """And its request id, so that log and trace lead to each other."""
    with structlog.testing.capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        async with kdm.client() as client:
            await client.get("/deployments", headers={"traceparent": TRACEPARENT, "x-request-id": "abc"})
    (line,) = [each for each in lines if each["event"] == "request"]
    assert (line["trace_id"], line["request_id"]) == (TRACE_ID, "abc")


async def test_the_standard_switch_turns_them_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    kdm = Observed()
    async with kdm.client() as client:
        assert (await client.get("/deployments")).status_code == 200
    assert kdm.spans == []


def test_without_traces_nothing_of_opentelemetry_is_loaded() -> None:
    """And so nothing of it need be installed, and it costs nothing."""
    code = (
        "import sys; from kdm_cli import main; from kdm_cli.container import Container;"
        "from kdm_cli.settings import Settings; container = Container(settings=Settings(policy_file='allow-all'));"
        "container.api(), container.ops(), container.lifespan();"
        "loaded = {'opentelemetry.sdk', 'opentelemetry.trace', 'kdm_http.telemetry.tracing'} & sys.modules.keys();"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_where_opentelemetry_is_missing_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None; from kdm_cli.main import main;"
        "sys.exit(main(['serve', '--dev', '--otel', '--port', '0', '--ops-port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2, done.stderr
    assert "kdm: --otel needs kdm's extra otel: pip install 'kdm-service[otel]' (" in done.stderr
