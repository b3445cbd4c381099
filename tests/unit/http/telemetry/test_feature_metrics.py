"""What an operator learns of how the API is used: each feature, in each dialect, however a request is answered."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from kdm_core import LOCAL, DeploymentService
from kdm_http.api.app import create_app
from kdm_http.telemetry.request_metrics import RequestMetrics

PEER: Any = SimpleNamespace(identity=LOCAL.identity, not_after=datetime.max.replace(tzinfo=UTC))


def uses(registry: CollectorRegistry) -> list[Any]:
    """What the metric of features says, and no other one."""
    (family,) = (each for each in registry.collect() if each.name == "kdm_http_feature_uses")
    return list(family.samples)


class Deployed:
    """The API, asked as the server asks it: the fast path first where a request has no body, else ASGI."""

    def __init__(self, service: DeploymentService) -> None:
        self.registry = CollectorRegistry()
        metrics = RequestMetrics()
        self.registry.register(metrics)
        self.app = create_app(service, counter=metrics)

    def used(self, dialect: str) -> dict[str, float]:
        """Features and how many requests used them, those with none left out."""
        return {
            sample.labels["feature"]: sample.value
            for sample in uses(self.registry)
            if sample.labels["dialect"] == dialect and sample.value
        }

    async def request(self, method: str, target: str, **options: Any) -> int:
        fields = [(name.lower().encode(), value.encode()) for name, value in options.get("headers", {}).items()]
        if "json" not in options:
            ready = self.app.answer_at_once(method.encode(), target.encode(), fields, PEER)
            if ready is not None:
                return ready.status

        async def admitted(scope: Any, receive: Any, send: Any) -> None:
            scope["state"] = {"peer": PEER}
            await self.app(scope, receive, send)

        async with httpx.AsyncClient(transport=httpx.ASGITransport(admitted), base_url="https://kdm.test") as client:
            return (await client.request(method, target, **options)).status_code


@pytest.fixture
def deployed(service: DeploymentService) -> Deployed:
    return Deployed(service)


async def test_every_feature_is_there_from_the_start(deployed: Deployed) -> None:
    samples = uses(deployed.registry)
    assert {sample.value for sample in samples} == {0}
    assert {sample.labels["dialect"] for sample in samples} == {"page", "rfd001", "rfd156", "v2"}
    assert "all-namespaces" in {sample.labels["feature"] for sample in samples}


async def test_plain_requests_use_no_feature(deployed: Deployed) -> None:
    assert await deployed.request("GET", "/deployments") == 200
    assert await deployed.request("GET", "/nowhere") == 404
    assert deployed.used("rfd001") == {}


async def test_each_request_counts_once_whichever_way_it_is_answered(deployed: Deployed) -> None:
    """A read that the fast path leaves to the application is not counted by both."""
    assert await deployed.request("GET", "/api/v1/deployments?namespace=shop") == 200
    assert await deployed.request("GET", "/api/v1/deployments/none/replicas?namespace=shop") == 404
    assert await deployed.request("GET", "/api/v1/deployments/n%6Fne/replicas?namespace=shop") == 404
    body = {"replicaCount": 2}
    assert await deployed.request("PUT", "/api/v1/deployments/api/replicas?namespace=shop", json=body) == 200
    assert deployed.used("rfd156") == {"namespace": 4}
    assert deployed.used("rfd001") == {}


@pytest.mark.parametrize("star", ["*", "%2A", "%2a"])
async def test_asking_for_every_namespace_is_another_feature_than_asking_for_one(deployed: Deployed, star: str) -> None:
    assert await deployed.request("GET", f"/deployments?namespace={star}") == 200
    assert deployed.used("rfd001") == {"all-namespaces": 1}


async def test_header_fields_and_head_count(deployed: Deployed) -> None:
    headers = {"X-Request-ID": "abc", "traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
    assert await deployed.request("HEAD", "/deployments", headers=headers) == 200
    path, body = "/deployments/nginx-deployment/replicas", {"replicaCount": 2}
    assert await deployed.request("POST", path, json=body, headers={"If-Match": '"1"'}) == 412
    assert deployed.used("rfd001") == {"head": 1, "request-id": 1, "traceparent": 1, "if-match": 1}
