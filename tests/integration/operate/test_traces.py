"""The traces of a kdm process arrive at a collector that speaks OTLP over HTTP."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final, Self

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from integration.kdm_process import KdmProcess, wait_until

TRACE_ID: Final = "0af7651916cd43dd8448eb211c80319c"
TRACEPARENT: Final = f"00-{TRACE_ID}-b7ad6b7169203331-01"


class Collector:
    """An OTLP receiver on a free loopback port; it keeps what it got."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.services: set[str] = set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                assert self.path == "/v1/traces"
                collector.receive(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def receive(self, request: ExportTraceServiceRequest) -> None:
        for resource in request.resource_spans:
            self.services |= {
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            }
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


def test_spans_arrive_while_it_serves_and_the_last_ones_when_it_ends(
    collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    with KdmProcess({"OTEL": "true"}, tmp_path / "log") as kdm:
        kdm.wait_ready()
        with kdm.client() as client:
            client.get("/deployments", headers={"traceparent": TRACEPARENT})
            wait_until(lambda: bool(collector.spans))
            client.put("/api/v1/deployments/nginx-deployment/replicas", json={"replicaCount": 4})
        assert kdm.stop() == 0
    read, write, scale = sorted(collector.spans, key=lambda span: span.name)
    assert (read.name, scale.name) == ("GET /deployments", "set replicas")
    assert write.name == "PUT /api/v1/deployments/{name}/replicas"
    assert read.trace_id.hex() == TRACE_ID
    assert scale.parent_span_id == write.span_id
    assert {each.value.string_value for each in write.attributes if each.key == "enduser.id"} == {"dev-admin"}
    assert collector.services == {"kdm"}


def test_a_collector_that_is_not_there_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests are answered, and kdm ends as gracefully as ever."""
    with Collector() as gone:
        pass
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", gone.url)
    with KdmProcess({"OTEL": "true"}, tmp_path / "log") as kdm:
        kdm.wait_ready()
        with kdm.client() as client:
            assert client.get("/deployments").status_code == 200
        assert kdm.stop() == 0
