"""What clients of kdm notice when a node is drained, and when one loses its power, under load."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from integration.controlplane.access import KubectlFailed
from integration.kdm_process import wait_until

from .cluster import READY_WITHIN_S, KindCluster
from .installation import NAMESPACE, Installation, is_serving
from .load import OK

DRAIN = ("--ignore-daemonsets", "--delete-emptydir-data", "--force")
OVER_BUDGET = "would violate the pod's disruption budget"
MISSED_WITHIN_S = 90.0


@pytest.fixture
def workers(kdm: Installation, kind_cluster: KindCluster) -> Iterator[list[str]]:
    """The nodes that Pods run on, all of them on and schedulable; and so they are afterwards."""
    names = list(kind_cluster.nodes())[1:]
    yield names
    for name in names:
        kind_cluster.start(name)
        kdm.cluster.kubectl("uncordon", name)
    within = f"--timeout={READY_WITHIN_S}s"
    kdm.cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", within, timeout_s=READY_WITHIN_S + 10)


def test_draining_one_node_after_the_other_loses_no_request_and_waits_for_the_budget(
    kdm: Installation, workers: list[str], tell: Callable[[str], None]
) -> None:
    """A Pod is evicted only while another serves: a drain that would leave none is refused, and later goes on."""
    pods = kdm.spread()
    kubectl = kdm.cluster.kubectl
    first, second = workers
    with kdm.load() as load:
        load.wait_for_requests(200)
        kubectl("cordon", first, second)
        kubectl("drain", first, *DRAIN)  # its Pod finds no other node
        kdm.wait_for_pods(lambda now: sum(map(is_serving, now.values())) == 1 and len(now) == 2)

        name = pods[second]["metadata"]["name"]
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": NAMESPACE}}
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{name}/eviction"
        with pytest.raises(KubectlFailed, match=OVER_BUDGET):
            kubectl("create", f"--raw={path}", "--filename=-", input=json.dumps(eviction))
        with pytest.raises(KubectlFailed, match=OVER_BUDGET):
            kubectl("drain", second, *DRAIN, "--timeout=2s")
        assert list(kdm.serving()) == [name]

        kubectl("uncordon", first)
        kubectl("drain", second, *DRAIN, timeout_s=120)
        kdm.wait_settled()
        load.wait_for_every_client()
    assert {pod["spec"]["nodeName"] for pod in kdm.pods().values()} == {first}
    tell(load.summary())
    assert load.failures() == []


@pytest.mark.nightly
def test_a_node_without_power_takes_what_was_under_way_there_and_no_more(
    kdm: Installation, kind_cluster: KindCluster, workers: list[str], tell: Callable[[str], None]
) -> None:
    """Nobody says goodbye: connections to it hang until their clients give up, and new ones are sent there until the
    cluster misses the node. That takes Kubernetes 50 s by default, and this cluster 20. The other Pod answers all else.
    """
    lost = kdm.spread()[workers[1]]
    address = lost["status"]["podIP"]
    with kdm.load() as load:
        load.wait_for_requests(200)
        before_s = time.monotonic()
        kind_cluster.stop(workers[1])
        after_s = time.monotonic()
        wait_until(lambda: not kdm.is_sent_to(address), MISSED_WITHIN_S)
        left_out_s = time.monotonic()
        load.wait_for_every_client()
        over = len(load.outcomes)
        load.wait_for_requests(1000)

        kind_cluster.start(workers[1])
        kdm.wait_settled(READY_WITHIN_S)
        load.wait_for_every_client()
    broken = load.broken(before_s, after_s, left_out_s)
    tell(f"{load.summary()}; {broken}, for {left_out_s - after_s:.0f} s")
    assert broken.others == []
    assert [each for each in load.outcomes[over:] if each.result != OK] == []
    assert lost["metadata"]["name"] in kdm.serving()
