"""Namespaces as sources of their own, on a real API server: kdm may read one of two, and is granted the other later."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from .controlplane.cluster import ControlPlane
from .kdm_process import KdmProcess, wait_until
from .test_least_privilege import bind_documented_role
from .workloads import create_deployments, deployment

GRANTED_S = 90.0
"""Within this a granted namespace must be read: the longest delay between two attempts is a minute."""


def test_a_namespace_without_rbac_does_not_silence_the_other_and_is_read_once_granted(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """Over HTTPS, in both dialects, without a restart."""
    plane = control_plane
    with plane.fresh_namespace("shop") as shop, plane.fresh_namespace("blog") as blog:
        for namespace in (shop, blog):
            create_deployments(plane.kubeconfig, namespace, [deployment("web", 1), deployment(f"only-{namespace}", 2)])
        account = plane.service_account_kubeconfig(shop, "kdm")
        bind_documented_role(plane, shop)
        settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(account), "NAMESPACES": f"{shop},{blog}"}
        with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
            kdm.wait_ready()
            wait_until(lambda: "RBAC" in client.get("/health").text)

            for path in ("/deployments/web/replicas", "/api/v1/deployments/web/replicas", "/api/v1/deployments"):
                assert client.get(path, params={"namespace": shop}).status_code == 200
                refused = client.get(path, params={"namespace": blog})
                assert refused.status_code == 503
                assert f"namespace '{blog}'" in refused.json()["error"]
                assert "RBAC permission" in refused.json()["error"]
                assert "Retry-After" in refused.headers
                everywhere = client.get(path)
                assert everywhere.status_code == 503
                assert f"namespace '{blog}'" in everywhere.json()["error"]
                assert f"these can be read: {shop}" in everywhere.json()["error"]
            written = client.post("/deployments/web/replicas", params={"namespace": shop}, json={"replicaCount": 3})
            assert written.status_code == 200
            assert client.get("/deployments/web/replicas", params={"namespace": shop}).json()["replicaCount"] == 3
            health = client.get("/health")
            assert (health.status_code, blog in health.json()["error"]) == (503, True)
            assert _source_metric(kdm, "kdm_cache_source_synced") == {shop: 1, blog: 0}
            assert _source_metric(kdm, "kdm_cache_source_connected") == {shop: 1, blog: 0}
            assert _source_metric(kdm, "kdm_cache_source_age_seconds")[shop] < GRANTED_S

            bind_documented_role(plane, blog, shop)
            wait_until(lambda: client.get("/health").status_code == 200, GRANTED_S)

            assert client.get("/deployments/web/replicas", params={"namespace": blog}).json()["replicaCount"] == 1
            names = [each["name"] for each in client.get("/api/v1/deployments").json()]
            assert sorted(names) == sorted(["web", "web", f"only-{shop}", f"only-{blog}"])
            assert _source_metric(kdm, "kdm_cache_source_synced") == {shop: 1, blog: 1}


def test_a_dying_namespace_and_names_that_look_like_numbers_and_words(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    """A Deployment kept by a finalizer in a namespace that is being deleted is read and scaled until it is gone."""
    plane = control_plane
    with plane.fresh_namespace("dying") as namespace:
        held = deployment("held", 1)
        held["metadata"]["finalizers"] = ["kdm.test/wait"]
        odd = ["123", "true", "null", "1e3", "0x10", "a.b"]
        create_deployments(plane.kubeconfig, namespace, [held, *(deployment(name, 2) for name in odd)])
        settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(plane.kubeconfig), "NAMESPACES": namespace}
        with KdmProcess(settings, tmp_path / "log") as kdm, kdm.client() as client:
            kdm.wait_ready()
            for name in odd:
                scaled = client.post(f"/deployments/{name}/replicas", json={"replicaCount": 4})
                assert scaled.status_code == 200, scaled.text
                assert client.get(f"/deployments/{name}/replicas").json()["replicaCount"] == 4
                assert client.get(f"/api/v1/deployments/{name}/replicas").json() == {"name": name, "replicaCount": 4}

            plane.kubectl("delete", "namespace", namespace, "--wait=false")
            plane.kubectl("delete", "deployment", f"--namespace={namespace}", "held", "--wait=false")
            dying = plane.kubectl("get", "deployment", f"--namespace={namespace}", "held", "--output=yaml")
            assert "deletionTimestamp" in dying

            scaled = client.post("/deployments/held/replicas", json={"replicaCount": 0})
            assert scaled.status_code == 200, scaled.text
            assert client.get("/deployments/held/replicas").json()["replicaCount"] == 0
            assert client.get("/health").status_code == 200
            plane.kubectl(
                "patch", "deployment", f"--namespace={namespace}", "held", "--type=merge",
                '--patch={"metadata":{"finalizers":null}}',
            )  # fmt: skip
            wait_until(lambda: client.get("/deployments/held/replicas").status_code == 404)
            assert client.post("/deployments/held/replicas", json={"replicaCount": 1}).status_code == 404
            assert client.get("/health").status_code == 200


def _source_metric(kdm: KdmProcess, name: str) -> dict[str, float]:
    return {
        sample.labels["source"]: sample.value
        for family in text_string_to_metric_families(kdm.metrics())
        if family.name == name
        for sample in family.samples
    }
