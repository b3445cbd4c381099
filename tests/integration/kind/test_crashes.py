"""What clients of kdm notice when a Pod or the API server is killed under load."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final

import pytest

from integration.kdm_process import wait_until

from .cluster import KindCluster
from .installation import READ, SHOP, Installation, is_serving
from .load import CLIENTS, FRESH, KEPT, OK, WRITE

AGAIN_WITHIN_S: Final = 120.0
"""After the API server is back, with load on two cores: it begins, and reads its own rules; a watch that it was away
from tries again within half a minute."""


def test_a_killed_kdm_breaks_what_was_under_way_there_and_no_more(
    kdm: Installation, kind_cluster: KindCluster, tell: Callable[[str], None]
) -> None:
    """Its port refuses connections until the kubelet has started it again: the Service still leads there."""
    name, pod = next(iter(kdm.pods().items()))
    (container,) = pod["status"]["containerStatuses"]
    with kdm.load() as load:
        load.wait_for_requests(200)
        before_s = time.monotonic()
        kind_cluster.kill(pod["spec"]["nodeName"], container["containerID"])
        after_s = time.monotonic()

        def serves_again() -> bool:
            now = kdm.pods()[name]
            (its,) = now["status"]["containerStatuses"]
            return is_serving(now) and bool(its["containerID"] != container["containerID"])

        wait_until(serves_again, 60)
        again_s = time.monotonic()
        load.wait_for_every_client()
        load.wait_for_requests(200)
    broken = load.broken(before_s, after_s, again_s)
    tell(f"{load.summary()}; {broken}, until it served again after {again_s - after_s:.1f} s")
    assert broken.others == []
    assert kdm.pods()[name]["status"]["containerStatuses"][0]["restartCount"] == container["restartCount"] + 1


def test_a_pod_deleted_by_force_breaks_what_was_under_way_there_and_is_replaced(
    kdm: Installation, kind_cluster: KindCluster, tell: Callable[[str], None]
) -> None:
    """`--force` leaves it no time. It is no endpoint any more before its process ends."""
    name, pod = next(iter(kdm.pods().items()))
    node, container = pod["spec"]["nodeName"], pod["status"]["containerStatuses"][0]["containerID"]
    running = ("crictl", "ps", "--quiet", f"--id={container.removeprefix('containerd://')}")
    with kdm.load() as load:
        load.wait_for_requests(200)
        before_s = time.monotonic()
        kdm.kubectl("delete", "pod", name, "--grace-period=0", "--force", "--wait=false")
        wait_until(lambda: not kdm.is_sent_to(pod["status"]["podIP"]))
        left_out_s = time.monotonic()
        wait_until(lambda: not kind_cluster.run(node, *running).strip())
        after_s = time.monotonic()
        kdm.wait_settled()
        load.wait_for_every_client()
        load.wait_for_requests(200)
    broken = load.broken(before_s, after_s, left_out_s)
    tell(f"{load.summary()}; {broken}")
    assert broken.others == []
    assert name not in kdm.serving()


def test_without_the_api_server_every_pod_reads_on_and_refuses_writes_whole(
    kdm: Installation, kind_cluster: KindCluster, tell: Callable[[str], None]
) -> None:
    """Once it is back, each Pod writes again and sees what others wrote; none was restarted."""
    kdm.deploy("untouched", scheduled=False)
    pods = kdm.serving()
    read = f"/deployments/{READ}/replicas?namespace={SHOP}"
    write = f"/deployments/untouched/replicas?namespace={SHOP}"

    def counts() -> set[object]:
        return {kdm.ask_pod(address, "GET", write).json().get("replicaCount") for address in pods.values()}

    wait_until(lambda: counts() == {1})
    with kdm.load() as load:
        load.wait_for_requests(200)
        kind_cluster.stop_api_server()
        try:
            for address in pods.values():
                answer = kdm.ask_pod(address, "POST", write, {"replicaCount": 7})
                assert answer.status_code == 503, answer.text
                assert answer.json().keys() == {"error"}
                assert answer.json()["error"].startswith("the cluster cannot be reached: ")
            load.wait_for_requests(1000)
            for address in pods.values():
                assert kdm.ask_pod(address, "GET", read).json() == {"deploymentName": READ, "replicaCount": 1}
        finally:
            kind_cluster.start_api_server()
        assert counts() == {1}
        for count, address in enumerate(pods.values(), start=2):
            _write_until_done(kdm, address, write, count)
            wait_until(partial(lambda count: counts() == {count}, count), AGAIN_WITHIN_S)
        mended_s = time.monotonic()  # what began before may still wait in vain
        load.wait_for_every_client()
        load.wait_for_requests(500)
        assert [each for each in load.outcomes if each.began_s > mended_s and each.result != OK] == []
    tell(load.summary())
    assert load.failures(KEPT, FRESH) == []
    refused = Counter(each.result[:4] for each in load.failures(WRITE))
    # What was under way when it was killed may have been written. An API server that has just begun forbids everything
    # until it has read its own RBAC rules: 502.
    assert {"503 "} <= refused.keys() <= {"503 ", "502 ", "504 "}
    assert refused["504 "] <= CLIENTS[WRITE]
    says = {"503 ": "the cluster", "504 ": "the cluster", "502 ": "lacks the RBAC permission"}
    assert all(says[each.result[:4]] in each.result for each in load.failures(WRITE))
    assert kdm.serving() == pods


def _write_until_done(kdm: Installation, address: str, path: str, count: int) -> None:
    """Write through a Pod until it is done: an API server that has just begun takes its time, and refuses meanwhile."""
    answers: list[str] = []

    def done() -> bool:
        answer = kdm.ask_pod(address, "POST", path, {"replicaCount": count})
        answers.append(f"{answer.status_code} {answer.text}")
        return answer.status_code == 200

    try:
        wait_until(done, AGAIN_WITHIN_S)
    except TimeoutError:
        pytest.fail(f"{address} did not write: {Counter(answers)}")
