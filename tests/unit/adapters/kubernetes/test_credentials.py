"""Finding the cluster, proving who asks, and renewing both while the cache stays."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
import trustme

from kdm_adapters.kubernetes import ClusterConfig, InvalidClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes import credentials as module
from kdm_adapters.kubernetes.credentials import Credentials
from kdm_core.errors import ClusterUnreachable
from kdm_core.model import DeploymentRef
from unit.adapters.kubernetes import kubeconfig
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer, refusing
from unit.adapters.kubernetes.conftest import until
from unit.adapters.kubernetes.view_driver import Recorder

WEB = DeploymentRef("shop", "web")
EXEC = "client.authentication.k8s.io/v1"


def write_kubeconfig(path: Path, name: str, **user: object) -> Path:
    """Write a kubeconfig whose cluster, user and default token are called after it."""
    user = user or {"token": f"{name}-token"}
    return kubeconfig.write_kubeconfig(path, f"https://{name}.example/", name=name, user=user)


def plugin(path: Path, status: Mapping[str, object] | None = None, script: str = "") -> dict[str, object]:
    """Write an exec plugin that counts its runs, and return the kubeconfig's entry for it."""
    answer = json.dumps({"apiVersion": EXEC, "kind": "ExecCredential", "status": status})
    path.write_text(f"#!/bin/sh\necho x >> {path}.runs\n{script or f'cat {path}.answer'}\n")
    path.with_name(f"{path.name}.answer").write_text(answer)
    path.chmod(0o700)
    return {"exec": {"apiVersion": EXEC, "command": str(path), "interactiveMode": "Never"}}


def runs(path: Path) -> int:
    return len(path.with_name(f"{path.name}.runs").read_text().split())


async def token(credentials: Credentials) -> str:
    configuration = await credentials.load()
    return str(configuration.api_key["BearerToken"])


@pytest.fixture
def in_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A Pod's service account. Returns the environment."""
    token_file, ca_file = tmp_path / "token", tmp_path / "ca.crt"
    token_file.write_text("pod-token\n")
    ca_file.write_bytes(trustme.CA().cert_pem.bytes())
    monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(token_file))
    monkeypatch.setattr(module, "SERVICE_CERT_FILENAME", str(ca_file))
    return {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


async def test_in_a_pod_the_service_account_is_used_and_its_token_read_anew(
    in_cluster: dict[str, str], tmp_path: Path
) -> None:
    credentials = Credentials(ClusterConfig(), environ=in_cluster)
    configuration = await credentials.load()
    assert configuration.host == "https://10.0.0.1:443"
    assert configuration.api_key["BearerToken"] == "bearer pod-token"
    assert not credentials.is_outdated()
    (tmp_path / "token").write_text("next-token")
    assert credentials.is_outdated()
    assert await token(credentials) == "bearer next-token"


async def test_a_kubeconfig_that_is_named_wins_over_the_pod(in_cluster: dict[str, str], tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", "named")
    assert await token(Credentials(ClusterConfig(kubeconfig=path), environ=in_cluster)) == "Bearer named-token"
    environ = in_cluster | {"KUBECONFIG": str(path)}
    assert await token(Credentials(ClusterConfig(), environ=environ)) == "Bearer named-token"
    assert await token(Credentials(ClusterConfig("in-cluster"), environ=environ)) == "bearer pod-token"


async def test_several_kubeconfigs_are_merged_and_a_context_is_chosen(tmp_path: Path) -> None:
    paths = [write_kubeconfig(tmp_path / name, name) for name in ("one", "two")]
    environ = {"KUBECONFIG": os.pathsep.join(map(str, paths))}
    assert await token(Credentials(ClusterConfig(context="one"), environ=environ)) == "Bearer one-token"
    configuration = await Credentials(ClusterConfig(context="two"), environ=environ).load()
    assert configuration.host == "https://two.example"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no kubeconfig at"),
        ("{", "cannot be used"),
        ("[]", "cannot be used"),
        ("", "cannot be used"),
        ('{"current-context": "x"}', "cannot be used"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_told_at_once(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidClusterConfig, match=message):
        Credentials(ClusterConfig("kubeconfig", path))


def test_an_unknown_context_is_named(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", "one")
    with pytest.raises(InvalidClusterConfig, match="two"):
        Credentials(ClusterConfig(kubeconfig=path, context="two"))


def test_impersonation_is_refused_rather_than_ignored(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "config", "one", **{"token": "t", "as": "somebody"})
    with pytest.raises(InvalidClusterConfig, match="impersonation"):
        Credentials(ClusterConfig(kubeconfig=path))


def test_outside_a_pod_in_cluster_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidClusterConfig, match="Service host/port is not set"):
        Credentials(ClusterConfig("in-cluster"), environ={"HOME": str(tmp_path)})


async def test_a_token_file_is_read_anew_while_the_watch_and_the_cache_stay(server: ApiServer, tmp_path: Path) -> None:
    """``tokenFile`` wins over ``token``, as in client-go."""
    (tmp_path / "token").write_text("first\n")
    config = server.kubeconfig(tmp_path, user={"tokenFile": "token", "token": "inline"})
    told = Recorder()
    server.cluster.create("web")
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config), instrument=told) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        assert server.requests[-1].headers["authorization"] == "Bearer first"
        (tmp_path / "token").write_text("second\n")
        await repository.set_replicas(WEB, 2)
        assert server.requests[-1].headers["authorization"] == "Bearer second"
        server.cluster.scale("web", 3)
        await server.notify()
        await until(lambda: repository.get(WEB).replicas.desired == 3)
        assert server.count("watch") == 1
        assert told.lists == [("watch-list", "initial")]


async def test_a_file_that_is_gone_for_a_moment_hurts_nobody(server: ApiServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    config = server.kubeconfig(tmp_path, user={"tokenFile": "token"})
    server.cluster.create("web")
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)) as repository:
        await repository.wait_synced(DEADLINE_S)
        (tmp_path / "token").unlink()
        await repository.set_replicas(WEB, 2)
        assert server.requests[-1].headers["authorization"] == "Bearer first"


async def test_an_exec_plugin_runs_once_and_again_before_its_token_expires(tmp_path: Path) -> None:
    expiry = time.time() + 3600
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expiry))
    path = tmp_path / "plugin"
    user = plugin(path, {"token": "minted", "expirationTimestamp": stamp})
    now = time.time()
    kubeconfig = write_kubeconfig(tmp_path / "config", "one", **user)
    credentials = Credentials(ClusterConfig(kubeconfig=kubeconfig), now=lambda: now)
    assert await token(credentials) == "Bearer minted"
    assert not credentials.is_outdated()
    assert runs(path) == 1
    now = expiry - 61
    assert not credentials.is_outdated()
    now = expiry - 59
    assert credentials.is_outdated()


async def test_an_exec_plugin_is_told_what_it_asks_for(tmp_path: Path) -> None:
    """Its command is relative to the kubeconfig; it gets its arguments, its environment and the cluster."""
    path = tmp_path / "plugin"
    script = f'echo "$KUBERNETES_EXEC_INFO" > {path}.info; echo "$1 $EXTRA" > {path}.args; cat {path}.answer'
    user = plugin(path, {"token": "minted"}, script)
    user["exec"] = {
        "apiVersion": EXEC,
        "command": "./plugin",
        "args": ["get"],
        "env": [{"name": "EXTRA", "value": "more"}],
        "provideClusterInfo": True,
    }
    await Credentials(ClusterConfig(kubeconfig=write_kubeconfig(tmp_path / "config", "one", **user))).load()
    assert (tmp_path / "plugin.args").read_text() == "get more\n"
    info = json.loads((tmp_path / "plugin.info").read_text())
    assert info["spec"] == {"interactive": False, "cluster": {"server": "https://one.example/"}}


@pytest.mark.parametrize(
    ("status", "script", "message"),
    [
        (None, "echo 'log in first' >&2; exit 3", "failed with 3: log in first"),
        (None, "echo nonsense", "cannot be used"),
        (None, "echo '[]'", "did not answer with an ExecCredential"),
        ({}, "", "neither a token nor a client certificate"),
        ({"clientCertificateData": "x"}, "", "neither a token nor a client certificate"),
        (None, "sleep 60", "took more than"),
    ],
)
async def test_an_exec_plugin_that_fails_is_an_error_and_not_an_anonymous_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: dict[str, object] | None, script: str, message: str
) -> None:
    if "sleep" in script:
        monkeypatch.setattr(module, "EXEC_TIMEOUT_S", 0.2)
    user = plugin(tmp_path / "plugin", status, f"exec {script}" if "sleep" in script else script)
    credentials = Credentials(ClusterConfig(kubeconfig=write_kubeconfig(tmp_path / "config", "one", **user)))
    with pytest.raises(ClusterUnreachable, match=message):
        await credentials.load()


async def test_a_slow_exec_plugin_does_not_block_the_loop_and_a_stop_ends_it(server: ApiServer, tmp_path: Path) -> None:
    user = plugin(tmp_path / "plugin", None, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    config = server.kubeconfig(tmp_path, user=user)
    async with asyncio.timeout(DEADLINE_S):
        async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)):
            await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_refused_token_is_minted_anew_but_not_at_every_refusal(server: ApiServer, tmp_path: Path) -> None:
    path = tmp_path / "plugin"
    config = server.kubeconfig(tmp_path, user=plugin(path, {"token": "minted"}))
    now = time.time()
    credentials = Credentials(ClusterConfig(kubeconfig=config), now=lambda: now)
    await credentials.load()
    credentials.refuse()
    assert not credentials.is_outdated(), "it was minted just now"
    now += 11
    credentials.refuse()
    assert credentials.is_outdated()
    await credentials.load()
    assert runs(path) == 2


async def test_a_401_leads_to_a_new_token_for_the_next_request(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_PAUSE_S", 0.0)
    path = tmp_path / "plugin"
    config = server.kubeconfig(tmp_path, user=plugin(path, {"token": "first"}))
    server.cluster.create("web")
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)) as repository:
        await repository.wait_synced(DEADLINE_S)
        plugin(path, {"token": "second"})
        server.faults["patch"].append(refusing(401, "Unauthorized"))
        with pytest.raises(ClusterUnreachable, match="does not accept kdm's credentials"):
            await repository.set_replicas(WEB, 2)
        await repository.set_replicas(WEB, 2)
        assert server.requests[-1].headers["authorization"] == "Bearer second"


def server_tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def certificate(ca: trustme.CA, name: str) -> dict[str, object]:
    issued = ca.issue_cert(common_name=name)
    return {
        "clientCertificateData": "".join(pem.bytes().decode() for pem in issued.cert_chain_pems),
        "clientKeyData": issued.private_key_pem.bytes().decode(),
    }


def keys_left(directory: Path) -> list[Path]:
    return list(directory.glob("kdm-exec-*"))


async def test_an_exec_plugins_client_certificate_is_used_and_renewed_and_its_key_left_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RENEW_PAUSE_S", 0.0)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ca, path = trustme.CA(), tmp_path / "plugin"
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    server = ApiServer(tls=server_tls(ca))
    server.cluster.create("web")
    async with server.running():
        user = plugin(path, certificate(ca, "first"))
        config = server.kubeconfig(tmp_path, user=user, **{"certificate-authority": "ca.crt"})
        async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config)) as repository:
            await repository.wait_synced(DEADLINE_S)
            await server.watch()
            assert server.requests[-1].client == "first"
            plugin(path, certificate(ca, "second"))
            server.faults["patch"].append(refusing(401, "Unauthorized"))
            with pytest.raises(ClusterUnreachable):
                await repository.set_replicas(WEB, 2)
            await repository.set_replicas(WEB, 2)
            assert server.requests[-1].client == "second"
            assert server.count("watch") == 1
    assert not keys_left(tmp_path)


async def test_a_new_ca_is_trusted_without_losing_the_cache(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    old.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    server = ApiServer(tls=server_tls(old))
    server.cluster.create("web")
    told = Recorder()
    async with server.running():
        config = server.kubeconfig(tmp_path, **{"certificate-authority": "ca.crt"})
        async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=config), instrument=told) as repository:
            await repository.wait_synced(DEADLINE_S)
            await server.watch()
            await server.stop()
            server.tls = server_tls(new)
            await server.start()
            with pytest.raises(ClusterUnreachable, match="certificate"):
                await repository.probe()
            new.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
            await repository.probe()
            server.cluster.scale("web", 5)
            await until(lambda: repository.get(WEB).replicas.desired == 5)
            assert told.lists == [("watch-list", "initial")]
