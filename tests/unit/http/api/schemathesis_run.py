"""Runs schemathesis' checks over a description, and fails with what they find."""

from __future__ import annotations

from schemathesis.engine import events, from_schema
from schemathesis.specs.openapi.schemas import OpenApiSchema


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
