"""kdm's whole service with its own logging, asked for everything, with all that it says on standard output or error."""

from __future__ import annotations

import os
import sys
from types import SimpleNamespace
from typing import Any, Final

import httpx
from dependency_injector import providers
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from kdm_cli import logs
from kdm_cli.container import Container
from kdm_cli.settings import Settings
from kdm_core import LOCAL
from kdm_http.telemetry.tracing import Tracing

__all__ = ["tell_everything"]

_PATHS = (
    "/health",
    "/api/v1/health",
    "/deployments",
    "/api/v1/deployments",
    "/deployments/web/replicas?namespace=shop",
)
_OPS = ("/livez", "/readyz", "/metrics")

DRAIN_S: Final = 10.0


def _client(app: Any) -> httpx.AsyncClient:
    async def admitted(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"peer": SimpleNamespace(identity=LOCAL.identity)}
        await app(scope, receive, send)

    transport = httpx.ASGITransport(admitted, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="https://kdm.test")


async def tell_everything(log_format: str) -> None:
    """Start, ask for everything twice, write a Deployment, stop; and print the answers, metrics and spans.

    Args:
        log_format: console or json.

    Raises:
        KdmError: The service does not start with such a kubeconfig. The command prints that error's text.
    """
    spans = InMemorySpanExporter()
    settings = Settings.read({**os.environ, "KDM_REPOSITORY": "kubernetes", "KDM_POLICY_FILE": "allow-all"}, {})
    container = Container(settings=settings)
    logs.configure("debug", log_format, container.log_lines())
    container.tracing.override(providers.Singleton(Tracing, spans))
    api, ops = container.api(), container.ops()
    async with container.lifespan(), _client(api) as client, _client(ops) as probes:
        for _ in range(2):
            answers = [await client.get(path) for path in _PATHS]
            answers.append(await client.post("/deployments/web/replicas?namespace=shop", json={"replicaCount": 2}))
            answers.extend([await probes.get(path) for path in _OPS])
            for answer in answers:
                sys.stdout.write(f"{answer.status_code} {answer.headers} {answer.text}\n")
    for span in spans.get_finished_spans():
        sys.stdout.write(f"{span.to_json(None)}\n")
    assert container.log_lines().drain(DRAIN_S)
    sys.stdout.write("everything was told\n")
    sys.stdout.flush()
