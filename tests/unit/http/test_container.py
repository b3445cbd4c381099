"""The composition root: the parts fit together, one can be replaced, and none is loaded that is not used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from dependency_injector import providers

from kdm_adapters.audit_log import JsonLinesAuditSink
from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import LOCAL, AuditUnavailable, DeploymentRef, PolicyError
from kdm_http.container import Container
from kdm_http.settings import BadSetting, Settings


def client_of(container: Container) -> httpx.AsyncClient:
    api = container.api()

    async def admitted(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"peer": SimpleNamespace(identity=LOCAL)}
        await api(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(admitted), base_url="https://kdm.test")


async def test_the_default_serves_demo_data() -> None:
    container = Container(settings=Settings())
    async with container.repository() as repository, client_of(container) as client:
        await repository.wait_synced(10)
        assert (await client.get("/deployments/nginx-deployment/replicas")).json()["replicaCount"] == 3


async def test_an_overridden_repository_is_what_the_api_serves() -> None:
    container = Container(settings=Settings())
    async with MemoryDeploymentRepository() as mine:
        mine.cluster.create(DeploymentRef("default", "mine"), 7)
        await mine.wait_synced(10)
        container.repository.override(providers.Object(mine))
        async with client_of(container) as client:
            assert (await client.get("/deployments")).json() == [{"deploymentName": "mine", "replicaCount": 7}]


async def test_the_settings_reach_the_parts(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text("version = 1\n")
    container = Container(
        settings=Settings(namespace="shop", max_replicas=7, audit_file=str(tmp_path / "audit.log"), policy_file=policy)
    )
    async with container.repository() as repository, client_of(container) as client:
        await repository.wait_synced(10)
        answer = await client.post("/deployments/api/replicas", json={"replicaCount": 8})
        assert "from 0 to 7" in answer.json()["error"]
        assert (await client.get("/deployments/api/replicas")).status_code == 403
        audit = container.audit()
        assert isinstance(audit, JsonLinesAuditSink)
        audit.close()
    assert (tmp_path / "audit.log").read_text().count("\n") == 2


async def test_metrics_tell_of_the_cache_and_of_requests() -> None:
    container = Container(settings=Settings())
    async with container.repository() as repository, client_of(container) as client:
        await repository.wait_synced(10)
        await client.get("/deployments")
        body, _ = container.metrics()("")
        assert b"kdm_cache_objects 12.0" in body
        assert b'kdm_http_requests_total{method="GET",route="/deployments",status="200"} 1.0' in body


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        (Settings(), BadSetting, "--tls-cert, --tls-key and --tls-client-ca"),
        (Settings(label_selector="a=b", dev=True), BadSetting, "--label-selector needs --repository kubernetes"),
        (Settings(policy_file=Path("/nowhere/policy.toml"), dev=True), PolicyError, "/nowhere/policy.toml"),
        (Settings(audit_file="/nowhere/audit.log", dev=True), AuditUnavailable, "/nowhere/audit.log"),
    ],
)
def test_what_cannot_work_is_told_before_anything_starts(settings: Settings, error: type[Exception], told: str) -> None:
    container = Container(settings=settings)
    with pytest.raises(error, match=told):
        (container.server_config(), container.service())


def test_the_memory_repository_does_not_load_kubernetes() -> None:
    """It would cost half a second and tens of megabytes."""
    code = (
        "import sys; from kdm_http.container import Container; from kdm_http.settings import Settings;"
        "Container(settings=Settings()).api();"
        "loaded = {'kubernetes', 'aiohttp', 'kdm_adapters.kubernetes'} & sys.modules.keys();"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
