"""kdm from its image, confined as a cluster confines it: no root, no capability, nothing it may write."""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx
import pytest

from integration.containers.engine import Engine, EngineFailed
from integration.containers.fixtures import build_kdm
from integration.controlplane.access import Cluster
from integration.kdm_process import wait_until
from integration.workloads import create_deployments, deployment

from .serving import CONFINED, Pki, Served, serving

GRACE_S = 10.0  # the setting's default: how long a stop waits for requests under way
ALLOW_ALL = {"POLICY_FILE": "allow-all"}
WITHOUT_A_SHELL = """
FROM {base}
RUN ["python3", "-c", "import os; [os.remove(f'/usr/bin/{{name}}') for name in ('sh', 'dash', 'bash', 'rbash')]"]
"""


def test_both_dialects_scale_a_real_deployment(
    engine: Engine, kdm_image: str, pki: Pki, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """With a kubeconfig mounted, and a /tmp in memory for the certificates that are written inside it."""
    create_deployments(cluster.kubeconfig, namespace, [deployment("web", 2)])
    mounted = shutil.copyfile(cluster.kubeconfig, tmp_path / "kubeconfig")
    tmp_path.chmod(0o755)
    mounted.chmod(0o644)
    settings = {**ALLOW_ALL, "REPOSITORY": "kubernetes", "KUBECONFIG": "/etc/kdm/kubeconfig", "NAMESPACES": namespace}
    options = ("--tmpfs=/tmp", f"--volume={mounted}:/etc/kdm/kubeconfig:ro")
    with serving(engine, kdm_image, pki, settings, options) as kdm, pki.client("admin", kdm.url) as client:
        read = client.get("/deployments/web/replicas")
        assert read.json() == {"deploymentName": "web", "replicaCount": 2}
        assert client.post("/deployments/web/replicas", json={"replicaCount": 3}).status_code == 200
        assert client.get("/api/v1/deployments/web/replicas").json() == {"name": "web", "replicaCount": 3}
        assert client.put("/api/v1/deployments/web/replicas", json={"replicaCount": 4}).status_code == 200
        assert client.get("/deployments").json() == [{"deploymentName": "web", "replicaCount": 4}]
        assert client.get("/api/v1/health").json() == {"status": "healthy", "kubernetes": "connected"}

        stored = cluster.kubectl("get", "deployment", "web", f"--namespace={namespace}", "-o=jsonpath={.spec.replicas}")
        assert stored == "4"
        cluster.kubectl("scale", "deployment", "web", f"--namespace={namespace}", "--replicas=1")
        wait_until(lambda: client.get("/deployments/web/replicas").json()["replicaCount"] == 1)
        _terminate(kdm)


def test_demo_data_needs_nothing_but_certificates(engine: Engine, kdm_image: str, pki: Pki) -> None:
    with serving(engine, kdm_image, pki, ALLOW_ALL) as kdm:
        _answers(kdm)
        _terminate(kdm)


def test_it_needs_no_shell(
    engine: Engine, checkout: Path, builder_image: str, base_image: str, pki: Pki, tmp_path: Path
) -> None:
    """On a base whose shells are gone the same Dockerfile builds, and kdm serves."""
    (tmp_path / "Dockerfile").write_text(WITHOUT_A_SHELL.format(base=base_image), encoding="utf-8")
    bare = engine.build(tmp_path, "kdm-test/without-a-shell")
    image = build_kdm(engine, checkout, "kdm-test/kdm-without-a-shell", builder_image, bare)
    with pytest.raises(EngineFailed, match="no such file"):
        engine.output(image, "-c", "true", options=["--entrypoint=/bin/sh"])
    with serving(engine, image, pki, ALLOW_ALL) as kdm:
        _answers(kdm)
        _terminate(kdm)


def test_its_tls_is_kdms(engine: Engine, kdm_image: str, pki: Pki) -> None:
    """No certificate, no answer; and kdm's own OpenSSL configuration, which it finds by its place, is in force."""
    with serving(engine, kdm_image, pki, ALLOW_ALL) as kdm:
        with httpx.Client(verify=pki.context(None), trust_env=False) as stranger, pytest.raises(httpx.HTTPError):
            stranger.get(f"{kdm.url}/deployments")
        for group, accepted in (("prime256v1", True), ("secp521r1", False)):
            context = pki.context("admin")
            context.set_ecdh_curve(group)  # the only one it offers
            with httpx.Client(verify=context, trust_env=False) as client:
                if accepted:
                    assert client.get(f"{kdm.url}/health").status_code == 200
                else:
                    with pytest.raises(httpx.ConnectError, match="handshake failure"):
                        client.get(f"{kdm.url}/health")


def test_a_missing_certificate_is_told(engine: Engine, kdm_image: str) -> None:
    """What somebody reads who just runs the image: which settings are missing, and no traceback."""
    with engine.run(kdm_image, options=CONFINED) as container:
        assert container.wait() == 2
        assert "KDM_TLS_CLIENT_CA" in container.logs()
        assert "Traceback" not in container.logs()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["--help"], "Serve the API over mutual TLS"),
        (["get", "--help"], "--selector"),
        (["--version"], "kdm "),
        (["serve", "--help"], "KDM_TLS_CLIENT_CA"),
        (["certs", "inspect", "/pki/server.pem"], "localhost"),
        (["policy", "check", "/policy.toml"], "valid: 2 grants"),
    ],
    ids=" ".join,
)
def test_every_command_is_there(engine: Engine, kdm_image: str, pki: Pki, command: list[str], expected: str) -> None:
    policy = Path(__file__).parents[3] / "certs" / "dev-policy.toml"
    mounts = [f"--volume={pki.directory}:/pki:ro", f"--volume={policy}:/policy.toml:ro"]
    assert expected in engine.output(kdm_image, *command, options=[*CONFINED, *mounts])


def _answers(kdm: Served) -> None:
    with kdm.pki.client("admin", kdm.url) as client:
        name = client.get("/deployments").json()[0]["deploymentName"]
        path = f"/api/v1/deployments/{name}/replicas?namespace=default"
        assert client.put(path, json={"replicaCount": 7}).status_code == 200
        assert client.get(path).json() == {"name": name, "replicaCount": 7}


def _terminate(kdm: Served) -> None:
    """SIGTERM, as a cluster sends it: kdm is gone within its drain time, and says that all went well."""
    kdm.container.signal("SIGTERM")
    assert kdm.container.wait(GRACE_S) == 0, kdm.container.logs()
