"""The control plane and the proxy that the other integration tests rely on do what these believe they do."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from integration.controlplane.access import Cluster, KubectlFailed, Request
from integration.controlplane.cluster import ControlPlane
from integration.proxy import Direction, Proxy
from integration.workloads import create_deployments, deployment

pytestmark = pytest.mark.nightly  # what breaks here breaks many of the others first

WATCH_FROM = "--raw=/apis/apps/v1/deployments?watch=true&timeoutSeconds=5&resourceVersion="


def test_a_deployment_scaled_to_five_gets_five_ready_pods(cluster: Cluster, namespace: str) -> None:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(deployment("web", 2)))
    cluster.kubectl("wait", "-n", namespace, "deploy/web", "--for=jsonpath={.status.readyReplicas}=2", "--timeout=60s")
    cluster.kubectl("scale", "-n", namespace, "deploy/web", "--replicas=5")
    cluster.kubectl("wait", "-n", namespace, "deploy/web", "--for=jsonpath={.status.readyReplicas}=5", "--timeout=60s")
    pods = json.loads(cluster.kubectl("get", "pods", "-n", namespace, "-o", "json"))["items"]
    conditions = [{c["type"]: c["status"] for c in pod["status"]["conditions"]} for pod in pods]
    assert [condition["Ready"] for condition in conditions] == ["True"] * 5


def test_a_never_ready_deployment_is_scheduled_and_stays_unready(cluster: Cluster, namespace: str) -> None:
    manifest = json.dumps(deployment("stuck", 2, never_ready=True))
    cluster.kubectl("apply", "-n", namespace, "-f", "-", input=manifest)
    cluster.kubectl("wait", "-n", namespace, "deploy/stuck", "--for=jsonpath={.status.unavailableReplicas}=2")
    cluster.kubectl("wait", "-n", namespace, "pod", "-l", "app=stuck", "--for=condition=PodScheduled")
    assert cluster.kubectl("get", "-n", namespace, "deploy/stuck", "-o", "jsonpath={.status.readyReplicas}") == ""


def test_deployments_are_made_in_bulk(cluster: Cluster, namespace: str) -> None:
    create_deployments(cluster.kubeconfig, namespace, (deployment(f"d-{i}", 0) for i in range(100)))
    assert len(cluster.kubectl("get", "deployments", "-n", namespace, "-o", "name").split()) == 100


def test_a_namespace_takes_its_deployments_along(cluster: Cluster) -> None:
    with cluster.fresh_namespace() as name:
        create_deployments(cluster.kubeconfig, name, [deployment("web", 0)])
    assert cluster.kubectl("get", "deployments", "-n", name, "-o", "name") == ""


def test_a_service_account_may_do_what_its_role_says(cluster: Cluster, namespace: str) -> None:
    """The kubeconfig holds a TokenRequest token that RBAC judges."""
    path = cluster.service_account_kubeconfig(namespace, "reader")
    user = Cluster(path, cluster.kubectl_program, cluster.directory)
    with pytest.raises(KubectlFailed, match=f"system:serviceaccount:{namespace}:reader.*cannot list"):
        user.kubectl("get", "deployments", "-n", namespace)
    cluster.kubectl(
        "create", "rolebinding", "read", "-n", namespace, "--clusterrole=view", f"--serviceaccount={namespace}:reader"
    )
    assert user.kubectl("get", "deployments", "-n", namespace, "-o", "name") == ""


def test_requests_are_counted(control_plane: ControlPlane) -> None:
    """The difference of two readings is exactly what was asked between."""
    before = control_plane.request_counts()
    for _ in range(3):
        control_plane.kubectl("get", "--raw=/apis/apps/v1/deployments")
    asked = control_plane.request_counts() - before
    assert {kind: n for kind, n in asked.items() if kind.resource == "deployments"} == {
        Request("LIST", "deployments"): 3
    }


def test_a_killed_api_server_comes_back_on_its_port_with_its_objects(control_plane: ControlPlane) -> None:
    with control_plane.fresh_namespace() as namespace:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("kept")])
        control_plane.apiserver.kill()
        with pytest.raises(KubectlFailed, match="refused"):
            control_plane.kubectl("get", "deployments", "-n", namespace)
        control_plane.apiserver.start()
        control_plane.wait_ready()
        assert control_plane.kubectl("get", "deployments", "-n", namespace, "-o", "name") == "deployment.apps/kept\n"


def test_a_killed_etcd_comes_back_with_its_objects(control_plane: ControlPlane) -> None:
    with control_plane.fresh_namespace() as namespace:
        create_deployments(control_plane.kubeconfig, namespace, [deployment("kept")])
        control_plane.etcd.kill()
        control_plane.etcd.start()
        control_plane.wait_ready()
        assert control_plane.kubectl("get", "deployments", "-n", namespace, "-o", "name") == "deployment.apps/kept\n"


def test_a_frozen_api_server_accepts_and_does_not_answer(control_plane: ControlPlane) -> None:
    control_plane.apiserver.freeze()
    with pytest.raises(KubectlFailed, match=r"[Tt]imeout|deadline"):
        control_plane.kubectl("get", "--raw=/readyz", "--request-timeout=1s")
    control_plane.apiserver.thaw()
    assert control_plane.kubectl("get", "--raw=/readyz") == "ok"


def test_a_watch_from_expired_history_is_gone(control_plane: ControlPlane) -> None:
    """A resourceVersion that was current before is answered 410 after, and the current one is not."""
    now = ("get", "--raw=/apis/apps/v1/deployments?limit=1")
    old = json.loads(control_plane.kubectl(*now))["metadata"]["resourceVersion"]
    control_plane.expire_history()
    error = json.loads(control_plane.kubectl("get", WATCH_FROM + old))
    assert (error["type"], error["object"]["code"], error["object"]["reason"]) == ("ERROR", 410, "Expired")
    new = json.loads(control_plane.kubectl(*now))["metadata"]["resourceVersion"]
    assert control_plane.kubectl("get", WATCH_FROM.replace("=5&", "=1&") + new) == ""


def test_a_continued_list_from_expired_history_is_gone(control_plane: ControlPlane) -> None:
    with control_plane.fresh_namespace() as namespace:
        path = f"--raw=/apis/apps/v1/namespaces/{namespace}/deployments?limit=1"
        create_deployments(control_plane.kubeconfig, namespace, [deployment("a"), deployment("b")])
        token = json.loads(control_plane.kubectl("get", path))["metadata"]["continue"]
        assert control_plane.kubectl("get", f"{path}&continue={token}")
        control_plane.expire_history()
        with pytest.raises(KubectlFailed, match="continue parameter is too old"):
            control_plane.kubectl("get", f"{path}&continue={token}")


def test_a_client_certificate_names_user_and_groups(control_plane: ControlPlane) -> None:
    path = control_plane.kubeconfig_for("jane", ["dev", "ops"])
    jane = Cluster(path, control_plane.kubectl_program, control_plane.directory)
    user = json.loads(jane.kubectl("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert user["username"] == "jane"
    assert set(user["groups"]) == {"dev", "ops", "system:authenticated"}


def test_the_proxy_holds_a_request_and_lets_it_go(cluster: Cluster, proxy: Proxy, tmp_path: Path) -> None:
    through = Cluster(proxy.kubeconfig(cluster.kubeconfig, tmp_path), cluster.kubectl_program, tmp_path)
    assert through.kubectl("get", "--raw=/readyz") == "ok"
    for hold in (proxy.black_hole, partial(proxy.black_hole, Direction.TO_CLIENT)):
        hold()
        with pytest.raises(KubectlFailed, match=r"[Tt]imeout|deadline"):
            through.kubectl("get", "--raw=/readyz", "--request-timeout=1s")
        proxy.heal()
        assert through.kubectl("get", "--raw=/readyz") == "ok"


@pytest.mark.parametrize("reset", [True, False])
def test_the_proxy_cuts_a_watch(cluster: Cluster, namespace: str, proxy: Proxy, tmp_path: Path, *, reset: bool) -> None:
    """The connection of a running watch ends, and new ones are served."""
    path = proxy.kubeconfig(cluster.kubeconfig, tmp_path)
    command = [str(cluster.kubectl_program), "get", f"--kubeconfig={path}", "deployments", "-n", namespace, "--watch"]
    with subprocess.Popen([*command, "-o", "name"], stdout=subprocess.PIPE) as watch:
        try:
            assert watch.stdout
            # The first may still be told by kubectl's list; the second is not there yet then, so its watch tells it.
            for name in ("first", "second"):
                create_deployments(cluster.kubeconfig, namespace, [deployment(name, 0)])
                while watch.stdout.readline() != b"deployment.apps/%s\n" % name.encode():
                    assert watch.poll() is None
            before = proxy.accepted
            proxy.cut(reset=reset)
            proxy.wait_until(lambda proxy: proxy.open == 0 or proxy.accepted > before)
            through = Cluster(path, cluster.kubectl_program, tmp_path)
            assert through.kubectl("get", "--raw=/readyz") == "ok"
        finally:
            watch.kill()
    proxy.wait_until(lambda proxy: proxy.open == 0)


if sys.platform == "linux":

    def test_a_component_dies_with_a_killed_parent(tmp_path: Path) -> None:
        """A test run that is killed by SIGKILL, and can clean up nothing, leaves no process behind."""
        program = (
            "import signal, pathlib\n"
            "from integration.controlplane.process import Process\n"
            f"child = Process(['sleep', '600'], pathlib.Path({str(tmp_path / 'log')!r}))\n"
            "child.start()\n"
            "print(child.pid, flush=True)\n"
            "signal.pause()\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        command = [sys.executable, "-c", program]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
            assert parent.stdout
            child = os.pidfd_open(int(parent.stdout.readline()))
            try:
                assert select.select([child], [], [], 0)[0] == []
                parent.kill()
                assert select.select([child], [], [], 30)[0] == [child]
            finally:
                os.close(child)


def test_a_restart_from_a_thread_that_ends_survives(control_plane: ControlPlane) -> None:
    """The kernel ties a child to the thread that forked it; a test may restart a component from any thread."""
    control_plane.apiserver.kill()
    thread = threading.Thread(target=control_plane.apiserver.start)
    thread.start()
    thread.join()
    control_plane.wait_ready()
    assert control_plane.kubectl("get", "--raw=/readyz") == "ok"
