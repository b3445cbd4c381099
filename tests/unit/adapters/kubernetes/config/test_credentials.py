"""Credentials stay fresh while the cache stays, and never lead to another cluster unnoticed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop

from kdm_adapters.kubernetes import ClusterConfig, InvalidClusterConfig, KubernetesDeploymentRepository
from kdm_adapters.kubernetes.api.client import ApiError, Client, Patch
from kdm_adapters.kubernetes.config import credentials as module
from kdm_adapters.kubernetes.config import exec_plugin, minting
from kdm_adapters.kubernetes.config.credentials import Credentials, CredentialsError
from kdm_core.errors import CacheNotSynced, ClusterUnreachable
from kdm_core.model import DeploymentRef
from unit.adapters.kubernetes.api_server import DEADLINE_S, ApiServer, refusing
from unit.adapters.kubernetes.conftest import until
from unit.adapters.kubernetes.kubeconfig import kubeconfig, write_kubeconfig
from unit.adapters.kubernetes.plugins import plugin, runs
from unit.adapters.kubernetes.watch.state_machine_driver import Recorder

WEB = DeploymentRef("shop", "web")


class Times:
    """Both clocks of a Credentials, moved by hand."""

    def __init__(self) -> None:
        self.epoch_s = time.time()
        self.monotonic_s = 1000.0

    def pass_s(self, seconds: float) -> None:
        self.epoch_s += seconds
        self.monotonic_s += seconds

    def stamp(self, after_s: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.epoch_s + after_s))

    def credentials(self, config: Path, **environ: str) -> Credentials:
        environ = {"PATH": os.environ["PATH"], **environ}
        return Credentials(
            ClusterConfig(kubeconfig=config), environ=environ, now=lambda: self.epoch_s, clock=lambda: self.monotonic_s
        )


@pytest.fixture
def times() -> Times:
    return Times()


def config(path: Path, user: object = None, *, server: str = "https://cluster.test", **cluster: object) -> Path:
    return write_kubeconfig(path / "config", server, user=user, cluster=cluster)


async def authorization(credentials: Credentials) -> str:
    return dict((await credentials.load()).headers)["Authorization"]


# A Pod's service account


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A Pod's service account. Returns the environment."""
    token_file, ca_file = tmp_path / "token", tmp_path / "ca.crt"
    token_file.write_text("pod-token\n")
    ca_file.write_bytes(trustme.CA().cert_pem.bytes())
    monkeypatch.setattr(module, "SERVICE_TOKEN_FILENAME", str(token_file))
    monkeypatch.setattr(module, "SERVICE_CERT_FILENAME", str(ca_file))
    return {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443", "HOME": str(tmp_path / "home")}


async def test_in_a_pod_the_service_account_is_used_and_read_again_when_it_changes(
    pod: dict[str, str], tmp_path: Path
) -> None:
    credentials = Credentials(ClusterConfig(), environ=pod)
    access = await credentials.load()
    assert access.endpoint.server == "https://10.0.0.1:443"
    assert access.headers == (("Authorization", "Bearer pod-token"),)
    assert not await credentials.is_outdated()
    (tmp_path / "token").write_text("next-token")
    assert await credentials.is_outdated()
    assert await authorization(credentials) == "Bearer next-token"
    (tmp_path / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    assert await credentials.is_outdated()
    assert (await credentials.load()).endpoint != access.endpoint


async def test_a_pods_api_server_may_have_an_address_in_ipv6(pod: dict[str, str]) -> None:
    credentials = Credentials(ClusterConfig(), environ=pod | {"KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert (await credentials.load()).endpoint.server == "https://[fd00::1]:443"


async def test_a_kubeconfig_wins_over_the_pod_as_with_kubectl(pod: dict[str, str], tmp_path: Path) -> None:
    path = config(tmp_path, {"token": "named"})
    assert await authorization(Credentials(ClusterConfig(kubeconfig=path), environ=pod)) == "Bearer named"
    environ = pod | {"KUBECONFIG": str(path)}
    assert await authorization(Credentials(ClusterConfig(), environ=environ)) == "Bearer named"
    assert await authorization(Credentials(ClusterConfig("in-cluster"), environ=environ)) == "Bearer pod-token"
    (tmp_path / "home" / ".kube").mkdir(parents=True)
    config(tmp_path / "home" / ".kube", {"token": "at home"})
    assert await authorization(Credentials(ClusterConfig(), environ=pod)) == "Bearer at home"
    (tmp_path / "home" / ".kube" / "config").write_text("apiVersion: v1\n")
    assert await authorization(Credentials(ClusterConfig(), environ=pod)) == "Bearer pod-token"


@pytest.mark.parametrize(
    ("what", "content", "message"),
    [
        ("KUBERNETES_SERVICE_HOST", None, "Service host/port is not set"),
        ("token", None, "token file does not exist"),
        ("ca.crt", "s3cret", "ca.crt holds no certificate"),
        ("token", "s3cret\nx", "token holds a line feed"),
    ],
)
def test_a_service_account_that_cannot_be_used_is_refused(
    pod: dict[str, str], tmp_path: Path, what: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / what).write_text(content)
    elif pod.pop(what, None) is None:
        (tmp_path / what).unlink()
    with pytest.raises(InvalidClusterConfig, match=message) as caught:
        Credentials(ClusterConfig("in-cluster"), environ=pod)
    assert "s3cret" not in str(caught.value)


# Files


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


async def test_authorities_given_as_data_do_not_keep_a_token_file_from_being_read_again(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    data = base64.b64encode(trustme.CA().cert_pem.bytes()).decode()
    path = config(tmp_path, {"tokenFile": "token"}, **{"certificate-authority-data": data})
    credentials = Credentials(ClusterConfig(kubeconfig=path), environ={})
    first = await credentials.load()
    (tmp_path / "token").write_text("second one")
    assert await credentials.is_outdated()
    second = await credentials.load()
    assert dict(second.headers)["Authorization"] == "Bearer second one"
    assert second.endpoint == first.endpoint, "the connections stay"


# Exec plugins


async def test_a_plugin_runs_once_and_again_a_minute_before_its_token_expires(tmp_path: Path, times: Times) -> None:
    path = tmp_path / "login"
    user = plugin(path, {"token": "minted", "expirationTimestamp": times.stamp(3600)})
    credentials = times.credentials(config(tmp_path, user))
    for _ in range(3):
        assert await authorization(credentials) == "Bearer minted"
    assert runs(path) == 1
    times.pass_s(3538)
    assert not await credentials.is_outdated()
    times.pass_s(4)
    assert await credentials.is_outdated()
    assert credentials.is_usable(), "nobody has to wait: the token is still good"
    times.pass_s(60)
    assert not credentials.is_usable()
    await credentials.load()
    assert runs(path) == 2


@pytest.mark.parametrize("lifetime_s", [45, 0, -3600])
async def test_a_plugin_with_short_lived_tokens_is_not_run_by_every_request(
    tmp_path: Path, times: Times, lifetime_s: float
) -> None:
    path = tmp_path / "login"
    user = plugin(path, {"token": "minted", "expirationTimestamp": times.stamp(lifetime_s)})
    credentials = times.credentials(config(tmp_path, user))
    await credentials.load()
    for _ in range(9):
        assert not await credentials.is_outdated()
        assert credentials.is_usable()
        assert await authorization(credentials) == "Bearer minted"
        times.pass_s(1)
    assert runs(path) == 1
    times.pass_s(45)
    assert await credentials.is_outdated()
    await credentials.load()
    assert runs(path) == 2


async def test_a_plugin_that_fails_is_not_run_by_every_request(tmp_path: Path, times: Times) -> None:
    path = tmp_path / "login"
    credentials = times.credentials(config(tmp_path, plugin(path, None, "exit 1")))
    for _ in range(5):
        with pytest.raises(CredentialsError, match="exit code 1"):
            await credentials.load()
        times.pass_s(1)
    assert runs(path) == 1
    plugin(path, {"token": "minted"})
    times.pass_s(10)
    assert await credentials.is_outdated()
    assert await authorization(credentials) == "Bearer minted"


@pytest.mark.parametrize(
    ("status", "script"),
    [
        ({"token": "line\nfeed"}, ""),
        ({"token": "\ud800half"}, ""),
        ({"clientKeyData": "no key", "clientCertificateData": "no certificate"}, ""),
        (None, """yes '{"deep":' | head -n 50000"""),
    ],
    ids=["line feed", "surrogate", "certificate", "depth"],
)
async def test_an_answer_that_cannot_be_used_is_not_kept_and_does_not_have_every_request_run_the_plugin(
    tmp_path: Path, times: Times, status: dict[str, object] | None, script: str
) -> None:
    path = tmp_path / "login"
    credentials = times.credentials(config(tmp_path, plugin(path, status, script)))
    for _ in range(5):
        with pytest.raises(CredentialsError, match="its answer"):
            await credentials.load()
        times.pass_s(1)
    assert runs(path) == 1
    plugin(path, {"token": "minted"})
    times.pass_s(10)
    assert await credentials.is_outdated()
    assert await authorization(credentials) == "Bearer minted"


async def test_a_token_is_kept_secret_for_as_long_as_it_is_in_use(tmp_path: Path, times: Times) -> None:
    path = tmp_path / "login"
    user = plugin(path, {"token": "minted-first", "expirationTimestamp": times.stamp(3600)})
    credentials = times.credentials(config(tmp_path, user))
    await credentials.load()
    times.pass_s(3590)
    plugin(path, None, "exit 1")
    with pytest.raises(CredentialsError):
        await credentials.load()
    assert credentials.redact.mask("you sent minted-first.") == "you sent [secret]."
    times.pass_s(10)
    plugin(path, {"token": "minted-second"})
    await credentials.load()
    assert credentials.redact.mask("you sent minted-first.") == "you sent [secret].", "an answer may still be under way"
    assert credentials.redact.mask("you sent minted-second.") == "you sent [secret]."


async def test_a_refused_token_is_minted_again_but_not_at_every_refusal(tmp_path: Path, times: Times) -> None:
    path = tmp_path / "login"
    credentials = times.credentials(config(tmp_path, plugin(path, {"token": "minted"})))
    await credentials.load()
    credentials.refuse()
    assert not await credentials.is_outdated(), "it was minted just now"
    times.pass_s(11)
    credentials.refuse()
    assert await credentials.is_outdated()
    assert not credentials.is_usable()
    await credentials.load()
    assert runs(path) == 2


async def test_a_kubeconfig_that_is_written_again_does_not_run_its_plugin_again(tmp_path: Path, times: Times) -> None:
    path = tmp_path / "login"
    user: Any = plugin(path, {"token": "minted"})
    credentials = times.credentials(config(tmp_path, user))
    await credentials.load()
    times.pass_s(60)
    content = kubeconfig("https://cluster.test", user=user) | {"preferences": {}}
    (tmp_path / "config").write_text(json.dumps(content))
    assert await credentials.is_outdated()
    await credentials.load()
    assert runs(path) == 1
    user["exec"]["args"] = ["--other"]
    config(tmp_path, user)
    await credentials.load()
    assert runs(path) == 2


class Gate:
    """What a plugin waits for before it answers."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self) -> None:
        self._path.touch()

    def shut(self) -> None:
        self._path.unlink()


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


def gated(tmp_path: Path) -> dict[str, object]:
    script = f"while [ ! -e {tmp_path}/gate ]; do sleep 0.05; done; cat {tmp_path}/login.answer"
    return plugin(tmp_path / "login", {"token": "minted"}, script)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_slow_plugin_runs_once_for_all_requests_and_none_of_them_ends_it(
    loop: Callable[[], asyncio.AbstractEventLoop], tmp_path: Path, gate: Gate
) -> None:
    """A request that gives up meanwhile has written nothing, and says so."""

    async def work() -> None:
        async with ApiServer().running() as server:
            client = Client(Credentials(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path, user=gated(tmp_path)))))
            for _ in range(3):
                with pytest.raises(ApiError, match="credentials for the cluster are still being renewed") as caught:
                    await client.request("patch", "PATCH", "/x", patch=Patch("application/json", {}), timeout_s=0.1)
                assert caught.value.failure.reason == "Unreachable"
            assert not server.requests
            gate.open()
            await client.request("get", "GET", "/readyz", timeout_s=DEADLINE_S)
            assert server.requests[-1].headers["authorization"] == "Bearer minted"
            assert runs(tmp_path / "login") == 1
            await client.close()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(work())


@pytest.mark.usefixtures("gate")
async def test_a_write_that_waits_for_credentials_in_vain_was_not_sent(server: ApiServer, tmp_path: Path) -> None:
    path = server.kubeconfig(tmp_path, user=gated(tmp_path))
    async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=path), write_timeout_s=0.1) as repository:
        with pytest.raises(ClusterUnreachable) as caught:
            await repository.set_replicas(WEB, 2)
        assert "may have been written" not in str(caught.value)
        with pytest.raises(CacheNotSynced):
            repository.get(WEB)


async def test_while_a_token_is_still_good_nobody_waits_for_the_next_one(
    server: ApiServer, tmp_path: Path, gate: Gate, times: Times
) -> None:
    user = gated(tmp_path)
    answer = json.loads((tmp_path / "login.answer").read_text())
    answer["status"]["expirationTimestamp"] = times.stamp(3600)
    (tmp_path / "login.answer").write_text(json.dumps(answer))
    gate.open()
    client = Client(times.credentials(server.kubeconfig(tmp_path, user=user)))
    await client.request("get", "GET", "/readyz", timeout_s=DEADLINE_S)
    gate.shut()
    (tmp_path / "login.answer").write_text(json.dumps(answer).replace("minted", "second"))
    times.pass_s(3550)
    await client.request("get", "GET", "/readyz", timeout_s=DEADLINE_S)
    assert server.requests[-1].headers["authorization"] == "Bearer minted"
    gate.open()
    while server.requests[-1].headers["authorization"] != "Bearer second":
        await client.request("get", "GET", "/readyz", timeout_s=DEADLINE_S)
    assert runs(tmp_path / "login") == 2
    await client.close()


@pytest.mark.parametrize("why", ["refused", "another server"])
async def test_no_request_goes_on_with_what_is_not_good_any_more_while_it_is_renewed(
    server: ApiServer, tmp_path: Path, gate: Gate, times: Times, why: str
) -> None:
    """Neither the one that has it renewed nor those that come after it."""
    user: Any = gated(tmp_path)
    gate.open()
    path = server.kubeconfig(tmp_path, user=user)
    credentials = times.credentials(path)
    client = Client(credentials)
    await client.request("get", "GET", "/readyz", timeout_s=DEADLINE_S)
    gate.shut()
    times.pass_s(60)
    if why == "refused":
        credentials.refuse()
    else:
        user["exec"]["args"] = ["--cluster=other"]
        path.write_text(json.dumps(kubeconfig("http://127.0.0.1:1", user=user)))
    for _ in range(3):
        with pytest.raises(ApiError, match="credentials for the cluster are still being renewed"):
            await client.request("patch", "PATCH", "/x", patch=Patch("application/json", {}), timeout_s=0.1)
    assert len(server.requests) == 1
    gate.open()
    await client.close()


async def test_a_stop_ends_a_plugin(server: ApiServer, tmp_path: Path) -> None:
    user = plugin(tmp_path / "login", None, f"echo $$ > {tmp_path}/pid; exec sleep 60")
    path = server.kubeconfig(tmp_path, user=user)
    async with asyncio.timeout(DEADLINE_S):
        async with KubernetesDeploymentRepository(ClusterConfig(kubeconfig=path)):
            await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_a_plugin_that_takes_too_long_is_ended(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exec_plugin, "EXEC_TIMEOUT_S", 0.2)
    client = Client(Credentials(ClusterConfig(kubeconfig=server.kubeconfig(tmp_path, user=gated(tmp_path)))))
    with pytest.raises(ApiError, match="the login plugin failed: it took more than"):
        await client.request("get", "GET", "/readyz", timeout_s=DEADLINE_S)
    await client.close()


async def test_a_401_leads_to_a_new_token_for_the_next_request(
    server: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minting, "RENEW_PAUSE_S", 0.0)
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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # not 3.13's strict one, to which trustme's are too plain
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


async def test_an_exec_plugins_client_certificate_is_used_and_renewed_without_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minting, "RENEW_PAUSE_S", 0.0)
    ca, path = trustme.CA(), tmp_path / "plugin"
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))
    server = ApiServer(tls=server_tls(ca))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "read-only"))
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
