"""Runs schemathesis' checks over a description, and fails with what they find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from anyio.from_thread import start_blocking_portal
from schemathesis.engine import events, from_schema
from schemathesis.specs.openapi.schemas import OpenApiSchema

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import LOCAL, DeploymentRef, DeploymentService
from kdm_http.api.app import create_app


@contextmanager
def served(*refs: DeploymentRef) -> Iterator[Callable[..., Any]]:
    """Serve Deployments by one API with an event loop of its own: schemathesis has another for each request."""
    repository = MemoryDeploymentRepository()
    for ref in refs:
        repository.cluster.create(ref, 3)
    peer = SimpleNamespace(identity=LOCAL.identity, not_after=datetime.max.replace(tzinfo=UTC))
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(repository):
        portal.call(repository.wait_synced, 10)
        api = portal.call(create_app, DeploymentService(repository))

        async def app(scope: Any, receive: Any, send: Any) -> None:
            here = asyncio.get_running_loop()

            def from_there(call: Callable[..., Any]) -> Callable[..., Any]:
                async def called(*args: Any) -> Any:
                    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call(*args), here))

                return called

            scope.setdefault("state", {})["peer"] = peer
            await asyncio.wrap_future(portal.start_task_soon(api, scope, from_there(receive), from_there(send)))

        yield app


def find_nothing(schema: OpenApiSchema) -> None:
    """Run all checks, valid and invalid data, undeclared methods, undocumented statuses: each is as documented."""
    checks: set[str] = set()
    failures = []
    for event in from_schema(schema).execute():
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            for case, results in event.recorder.checks.items():
                checks |= {result.name for result in results}
                request = event.recorder.interactions[case].request
                failures += [
                    f"{request.method} {request.uri} {request.headers} {request.body!r}: "
                    f"{result.failure_info.failure.message}"
                    for result in results
                    if result.failure_info
                ]
    assert not failures, "\n".join(failures)
    assert {"unsupported_method", "negative_data_rejection", "positive_data_acceptance"} <= checks
    assert {"status_code_conformance", "response_schema_conformance", "allow_header_conformance"} <= checks
