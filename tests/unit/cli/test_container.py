"""The composition root: the parts fit together, one can be replaced, and none is loaded that is not used."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from dependency_injector import providers

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_cli.container import Container
from kdm_cli.policy_file import PolicyFile
from kdm_cli.settings import BadSetting, Settings
from kdm_core import LOCAL, AuditUnavailable, Caller, DeploymentRef, Forbidden, Identity, PolicyError

CERTIFIED = Settings(tls_cert=Path("server.pem"), tls_key=Path("server-key.pem"), tls_client_ca=Path("ca.pem"))


def client_of(container: Container) -> httpx.AsyncClient:
    api = container.api()

    async def admitted(scope: Any, receive: Any, send: Any) -> None:
        scope["state"] = {"peer": SimpleNamespace(identity=LOCAL.identity)}
        await api(scope, receive, send)

    return httpx.AsyncClient(transport=httpx.ASGITransport(admitted), base_url="https://kdm.test")


async def test_the_default_serves_demo_data() -> None:
    container = Container(settings=Settings(policy_file="allow-all"))
    async with container.repository() as repository, client_of(container) as client:
        await repository.wait_synced(10)
        assert (await client.get("/deployments/nginx-deployment/replicas")).json()["replicaCount"] == 3


async def test_an_overridden_repository_is_what_the_api_serves() -> None:
    container = Container(settings=Settings(policy_file="allow-all"))
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
        settings=Settings(
            namespace="shop", max_replicas=7, audit_file=str(tmp_path / "audit.log"), policy_file=str(policy)
        )
    )
    async with container.lifespan(), client_of(container) as client:
        await container.repository().wait_synced(10)
        answer = await client.post("/deployments/api/replicas", json={"replicaCount": 8})
        assert "from 0 to 7" in answer.json()["error"]
        assert (await client.get("/deployments/api/replicas")).status_code == 403
    assert (tmp_path / "audit.log").read_text().count("\n") == 2


async def test_metrics_tell_of_the_cache_and_of_requests() -> None:
    container = Container(settings=Settings(policy_file="allow-all"))
    async with container.repository() as repository, client_of(container) as client:
        await repository.wait_synced(10)
        await client.get("/deployments")
        body, _ = container.metrics()("")
        assert b"kdm_cache_objects 12.0" in body
        assert b'kdm_http_requests_total{dialect="rfd001",method="GET",route="/deployments",status="200"} 1.0' in body


@pytest.mark.parametrize(
    ("settings", "error", "told"),
    [
        (Settings(), BadSetting, "--tls-cert, --tls-key and --tls-client-ca"),
        (CERTIFIED, BadSetting, "--policy-file .or KDM_POLICY_FILE.*or the word allow-all"),
        (Settings(label_selector="a=b", dev=True), BadSetting, "--label-selector needs --repository kubernetes"),
        (Settings(policy_file="/nowhere/policy.toml", dev=True), PolicyError, "/nowhere/policy.toml"),
    ],
)
def test_what_cannot_work_is_told_before_anything_starts(settings: Settings, error: type[Exception], told: str) -> None:
    container = Container(settings=settings)
    with pytest.raises(error, match=told):
        (container.server_config(), container.service())


async def test_a_required_audit_trail_that_cannot_be_written_is_an_error_at_the_start() -> None:
    container = Container(settings=Settings(audit_file="/nowhere/audit.log", dev=True))
    with pytest.raises(AuditUnavailable, match=r"/nowhere/audit\.log"):
        async with container.lifespan():
            pytest.fail("it must not come up")
    assert not container.repository().sync_status().synced


async def test_an_optional_audit_trail_that_cannot_be_written_is_none() -> None:
    container = Container(settings=Settings(audit_file="/nowhere/audit.log", audit_required=False, dev=True))
    async with container.lifespan():
        pass


async def test_the_audit_file_is_closed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    container = Container(settings=Settings(audit_file=str(path), dev=True))
    async with container.lifespan():
        assert path in _open_files()
    assert path not in _open_files()


def _open_files() -> set[Path]:
    """Return what this process has open, gone files left out."""
    return {link.resolve() for link in Path("/proc/self/fd").iterdir()}


@pytest.mark.parametrize(
    ("settings", "destination"),
    [
        (Settings(), "-"),
        (Settings(dev=True), ""),
        (Settings(audit_file="none"), ""),
        (Settings(audit_file="-", dev=True), "-"),
        (Settings(audit_file="./none"), "./none"),
    ],
)
def test_an_audit_trail_is_kept_unless_in_development_or_told_not_to(settings: Settings, destination: str) -> None:
    assert settings.audit_destination == destination
    assert (Container(settings=settings).audit() is None) == (not destination)


@pytest.mark.parametrize("settings", [Settings(policy_file="allow-all"), Settings(policy_file="allow-all", dev=True)])
def test_allowing_everything_is_warned_of_once(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    container = Container(settings=settings)
    container.service()
    container.lifespan()
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert "every client with a certificate of the client CA may do everything" in caplog.text


def test_development_denies_those_its_policy_does_not_name() -> None:
    with pytest.raises(Forbidden):
        Container(settings=Settings(dev=True)).service().list(caller=Caller(Identity("stranger")))


async def test_a_new_policy_file_changes_what_is_allowed(tmp_path: Path) -> None:
    """What the next request may do, and the counter of reloads, follow the file while kdm serves."""
    policy = tmp_path / "policy.toml"
    policy.write_text("version = 1\n")
    container = Container(settings=Settings(policy_file=str(policy), audit_file="none"))
    reloaded = asyncio.Event()

    def told(used: bool) -> None:
        container.traffic().policy_reloaded(used)
        reloaded.set()

    container.policy_file.override(providers.Singleton(PolicyFile, policy, reloaded=told))
    async with container.lifespan(), client_of(container) as client:
        await container.repository().wait_synced(10)
        assert (await client.get("/deployments")).status_code == 403
        policy.write_text('version = 1\n[[grant]]\nanyone = true\nverbs = ["read"]\nnamespaces = ["*"]\n')
        async with asyncio.timeout(10):
            await reloaded.wait()
        assert (await client.get("/deployments")).status_code == 200
        assert b'kdm_policy_reloads_total{outcome="used"} 1.0' in container.metrics()("")[0]


def test_the_memory_repository_does_not_load_kubernetes() -> None:
    """It would cost half a second and tens of megabytes."""
    code = (
        "import sys; from kdm_cli.container import Container; from kdm_cli.settings import Settings;"
        "Container(settings=Settings(policy_file='allow-all')).api();"
        "loaded = {'kubernetes', 'aiohttp', 'kdm_adapters.kubernetes'} & sys.modules.keys();"
        "sys.exit(str(loaded) if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: a
clusters: [{name: a, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: a, context: {cluster: a, user: a}}]
users: [{name: a, user: {token: secret}}]
"""


async def test_a_cluster_has_a_lot_an_announcer_and_owners_where_the_settings_say_so(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(KUBECONFIG)
    settings = Settings(
        repository="kubernetes",
        kubeconfig=kubeconfig,
        policy_file="allow-all",
        owners=True,
        parking="configmaps",
        parking_namespace="kdm",
        events=True,
    )
    container = Container(settings=settings)

    assert type(container.parking()).__name__ == "ConfigMapParkingLot"
    assert type(container.announcer()).__name__ == "EventAnnouncer"
    (owners,) = container.repository().sync_status().owners
    assert owners.source.startswith("horizontalpodautoscalers")
    assert "kdm_history_entries" in container.metrics()("")[0].decode()


def test_nothing_is_parked_kept_or_announced_where_nobody_asks_for_it(tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(KUBECONFIG)
    container = Container(
        settings=Settings(repository="kubernetes", kubeconfig=kubeconfig, policy_file="allow-all", history_entries=0)
    )
    assert (container.parking(), container.announcer(), container.tracker()) == (None, None, None)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"label_selector": "a=b"}, "--label-selector needs --repository kubernetes"),
        ({"parking_namespace": "kdm"}, "--parking-namespace needs --parking configmaps"),
        ({"parking": "configmaps"}, "--parking configmaps needs --repository kubernetes"),
        ({"repository": "kubernetes", "parking": "memory"}, "use --parking configmaps"),
        ({"repository": "kubernetes", "parking": "configmaps"}, "say it with --parking-namespace"),
        ({"events": True}, "--events needs --repository kubernetes"),
        ({"repository": "kubernetes", "events": True, "history_entries": 0}, "--history-entries must not be 0"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_together_are_refused(settings: dict[str, Any], says: str, tmp_path: Path) -> None:
    if "repository" in settings:
        settings["kubeconfig"] = tmp_path / "config"
        settings["kubeconfig"].write_text(KUBECONFIG)
    with pytest.raises(BadSetting, match=says):
        _put_together(Container(settings=Settings(policy_file="allow-all", **settings)))


def _put_together(container: Container) -> None:
    for part in (container.repository, container.parking, container.announcer):
        part()
