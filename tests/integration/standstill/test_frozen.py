"""Each outside party that kdm has stands still in turn: probes answer, a good client's reads go on, SIGTERM ends it."""

from __future__ import annotations

import base64
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from integration.controlplane.cluster import ControlPlane
from integration.kdm_process import CERTS, UNLIMITED, wait_until
from integration.loops import every_loop
from integration.proxy import Proxy
from integration.workloads import create_deployments, deployment

from .outside import HangingFileSystem, Kdm, SilentNameServer, hangs_in_a_file_system, seeing

URL: Final = "/deployments/nginx-deployment/replicas"
API_SERVER: Final = "kubernetes.default.svc"


@every_loop
def test_the_reader_of_standard_output(loop: str) -> None:
    """With the audit trail there: what cannot be recorded is refused, at once after the first."""
    with Kdm({"AUDIT_FILE": "-", "LOOP": loop}) as kdm:
        kdm.stdout.freeze()
        kdm.reject_strangers()
        with kdm.client() as client:
            for _ in range(20):
                refused = client.post(URL, json={"replicaCount": 9})
                assert (refused.status_code, "does not keep up" in refused.text) == (503, True)
        assert "kdm_audit_writable 0.0" in kdm.metrics()
        kdm.assert_serves_and_ends()


@every_loop
def test_the_reader_of_standard_error(loop: str) -> None:
    """With a line for each request and each stranger: what finds no room is dropped and counted."""
    with Kdm({"LOG_REQUESTS": "true", "LOOP": loop, **UNLIMITED}) as kdm:
        kdm.stderr.freeze()
        kdm.reject_strangers()
        while "kdm_log_lines_dropped_total 0.0" in kdm.metrics():
            kdm.ask_many(100)
        kdm.assert_serves_and_ends()


def test_both_readers_and_lines_longer_than_pollout_promises() -> None:
    """And when they read on, the trail and the log go on, line by whole line."""
    with Kdm({"AUDIT_FILE": "-"}) as kdm:
        kdm.stdout.freeze()
        kdm.stderr.freeze()
        kdm.reject_strangers()
        assert kdm.lives()
        kdm.stdout.thaw()
        kdm.stderr.thaw()
        wait_until(lambda: "kdm_audit_writable 1.0" in kdm.metrics())
        with kdm.client() as client:
            assert client.post(URL, json={"replicaCount": 9}).status_code == 200
        wait_until(lambda: '"outcome":"success"' in kdm.stdout.text())
        lines = [line for line in kdm.stdout.text().splitlines() if set(line) != {"x"} and line]
        assert all(line.startswith('{"time":') and line.endswith("}") for line in lines), lines
        kdm.assert_serves_and_ends()


@every_loop
def test_the_disk_of_the_audit_trail(loop: str, tmp_path: Path) -> None:
    """A write is refused while the disk does not answer, and works as soon as it does."""
    with (
        HangingFileSystem(tmp_path / "disk") as disk,
        Kdm({"AUDIT_FILE": str(disk.path / "audit.jsonl"), "LOOP": loop}) as kdm,
    ):
        with kdm.client() as client:
            assert client.post(URL, json={"replicaCount": 2}).status_code == 200
            disk.freeze()
            kdm.reject_strangers()
            for _ in range(20):
                assert client.post(URL, json={"replicaCount": 9}).status_code == 503
            assert kdm.lives()
            disk.thaw()
            wait_until(lambda: client.post(URL, json={"replicaCount": 3}).status_code == 200)
            disk.freeze()
        kdm.assert_serves_and_ends()


@every_loop
def test_the_file_system_of_the_policy(loop: str, tmp_path: Path) -> None:
    """It is looked at every second: while that hangs the policy in use goes on."""
    policy = {"policy.toml": CERTS / "dev-policy.toml"}
    with (
        HangingFileSystem(tmp_path / "policies", policy) as policies,
        Kdm({"POLICY_FILE": str(policies.path / "policy.toml"), "LOOP": loop}) as kdm,
    ):
        policies.freeze()
        wait_until(lambda: hangs_in_a_file_system(kdm.process.pid))
        kdm.assert_serves_and_ends()


@every_loop
def test_the_file_system_of_the_certificates(loop: str, tmp_path: Path) -> None:
    """They are looked at every second, and at SIGHUP: while that hangs those in use go on."""
    names = {"TLS_CERT": "dev-server.pem", "TLS_KEY": "dev-server-key.pem", "TLS_CLIENT_CA": "dev-ca.pem"}
    with (
        HangingFileSystem(tmp_path / "files", {name: CERTS / name for name in names.values()}) as files,
        Kdm({**{key: str(files.path / name) for key, name in names.items()}, "LOOP": loop}) as kdm,
    ):
        files.freeze()
        wait_until(lambda: hangs_in_a_file_system(kdm.process.pid))
        kdm.process.send_signal(signal.SIGHUP)
        kdm.assert_serves_and_ends()


@pytest.fixture
def cluster_settings(control_plane: ControlPlane) -> Iterator[dict[str, str]]:
    with control_plane.fresh_namespace() as namespace:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("nginx-deployment", 1)])
        yield {"REPOSITORY": "kubernetes", "NAMESPACES": namespace, "KUBECONFIG": str(control_plane.kubeconfig)}


@every_loop
def test_the_api_server(loop: str, control_plane: ControlPlane, cluster_settings: dict[str, str]) -> None:
    """Its sockets accept and nothing answers: reads go on from the cache. A write is never sent, and kdm knows it."""
    with Kdm({**cluster_settings, "LOOP": loop, "WRITE_TIMEOUT_S": "2"}) as kdm:
        _wait_readable(kdm)
        control_plane.apiserver.freeze()
        try:
            with kdm.client() as client:
                refused = client.post(URL, json={"replicaCount": 9})
                assert (refused.status_code, "no connection within 2 s" in refused.text) == (503, True), refused.text
            kdm.assert_serves_and_ends()
        finally:
            control_plane.apiserver.thaw()


@every_loop
def test_the_name_server(
    loop: str, control_plane: ControlPlane, cluster_settings: dict[str, str], tmp_path: Path
) -> None:
    """The API server's connections break, its name has to be asked for again, and no name server answers."""
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text(f"127.0.0.1 localhost {API_SERVER}\n")
    with SilentNameServer() as silent, Proxy.to(control_plane.kubeconfig) as proxy:
        resolver.write_text(f"nameserver {silent.address}\noptions timeout:30 attempts:5\n")
        kubeconfig = _by_name(proxy, control_plane, tmp_path)
        with Kdm(
            {**cluster_settings, "KUBECONFIG": str(kubeconfig), "LOOP": loop},
            seeing({"/etc/hosts": hosts, "/etc/resolv.conf": resolver}),
        ) as kdm:
            _wait_readable(kdm)
            hosts.write_text("127.0.0.1 localhost\n")
            proxy.refuse()  # else kdm is back before its HTTP client asks for a name again, after 10 s
            proxy.cut()
            assert "kubernetes" in silent.question()
            kdm.assert_serves_and_ends()


def _by_name(proxy: Proxy, control_plane: ControlPlane, directory: Path) -> Path:
    """Write a kubeconfig that leads through a proxy, which it names by a host name."""
    kubeconfig = proxy.kubeconfig(control_plane.kubeconfig, directory)
    kubeconfig.write_text(kubeconfig.read_text().replace("127.0.0.1", API_SERVER))
    return kubeconfig


def _wait_readable(kdm: Kdm) -> None:
    with kdm.client() as client:
        wait_until(lambda: client.get(URL).status_code == 200)


@every_loop
@pytest.mark.parametrize("what", ["kubeconfig", "files"])
def test_the_file_system_of_the_cluster_s_credentials(
    what: str, loop: str, control_plane: ControlPlane, cluster_settings: dict[str, str], tmp_path: Path
) -> None:
    """They are looked at before every request: while that hangs those in use go on, and writes are done with them."""
    config = yaml.safe_load(control_plane.kubeconfig.read_text())
    with HangingFileSystem(tmp_path / "files", _credential_files(config, tmp_path, tmp_path / "files")) as files:
        kubeconfig = files.path / "config" if what == "kubeconfig" else tmp_path / "config"
        with Kdm({**cluster_settings, "KUBECONFIG": str(kubeconfig), "LOOP": loop}) as kdm:
            _wait_readable(kdm)
            with kdm.client() as client:
                assert client.post(URL, json={"replicaCount": 2}).status_code == 200
                files.freeze()
                for count in range(3, 8):
                    assert client.post(URL, json={"replicaCount": count}).status_code == 200
                    assert kdm.lives()
                assert hangs_in_a_file_system(kdm.process.pid)
                files.thaw()
                wait_until(lambda: not hangs_in_a_file_system(kdm.process.pid))
                assert client.post(URL, json={"replicaCount": 9}).status_code == 200
                files.freeze()
                assert client.post(URL, json={"replicaCount": 1}).status_code == 200
            kdm.assert_serves_and_ends()


def _credential_files(config: Any, directory: Path, mounted: Path) -> dict[str, Path]:
    """Write a kubeconfig whose data is in files of a file system yet to be mounted. Returns what that has to hold."""
    sources: dict[str, Path] = {"config": directory / "config"}
    for entry in (config["clusters"][0]["cluster"], config["users"][0]["user"]):
        for key in ("certificate-authority", "client-certificate", "client-key"):
            if encoded := entry.pop(f"{key}-data", None):
                sources[key] = directory / key
                sources[key].write_bytes(base64.b64decode(encoded))
            elif key in entry:
                sources[key] = Path(entry[key])
            if key in sources and (encoded or key in entry):
                entry[key] = str(mounted / key)
        if token := entry.pop("token", None):
            sources["token"] = directory / "token"
            sources["token"].write_text(token)
            entry["tokenFile"] = str(mounted / "token")
    (directory / "config").write_text(yaml.safe_dump(config))
    return sources
