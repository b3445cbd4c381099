"""What clients of kdm notice when a Pod or the API server is killed under load."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from integration.kdm_process import wait_until

from .cluster import KindCluster
from .installation import READ, SHOP, Installation
from .load import FRESH, KEPT, OK, WRITE

BROKEN_CONNECTION = {"ConnectError", "ConnectTimeout", "ReadError", "ReadTimeout", "RemoteProtocolError", "WriteError"}
NOTICED_WITHIN_S = 15.0
"""After this long no client meets a killed Pod any more: it is no endpoint, and who still asked it has given up."""


def test_a_killed_kdm_breaks_its_own_connections_and_no_more(
    kdm: Installation, kind_cluster: KindCluster, tell: Callable[[str], None]
) -> None:
    """What was under way there fails as a broken connection, nothing is answered wrongly, and soon all is well."""
    pod = next(iter(kdm.pods().values()))
    with kdm.load() as load:
        load.wait_for_requests(200)
        killed_s = time.monotonic()
        kind_cluster.kill(pod["spec"]["nodeName"], pod["status"]["containerStatuses"][0]["containerID"])
        wait_until(lambda: time.monotonic() > killed_s + NOTICED_WITHIN_S)
        kdm.wait_settled()
        load.wait_for_requests(200)
    failures = load.failures()
    last_s = max((each.began_s for each in failures), default=killed_s) - killed_s
    tell(f"{load.summary()}; the last that failed began {last_s:.1f} s after the kill")
    assert {each.result.partition("(")[0] for each in failures} <= BROKEN_CONNECTION
    assert last_s < NOTICED_WITHIN_S
    restarted = kdm.pods()[pod["metadata"]["name"]]
    assert restarted["status"]["containerStatuses"][0]["restartCount"] == 1


def test_a_pod_deleted_by_force_is_replaced(kdm: Installation, tell: Callable[[str], None]) -> None:
    """`--force` leaves it no time: clients may find connections broken, until its successor serves."""
    gone = next(iter(kdm.serving()))
    with kdm.load() as load:
        load.wait_for_requests(200)
        deleted_s = time.monotonic()
        kdm.kubectl("delete", "pod", gone, "--grace-period=0", "--force", "--wait=false")
        kdm.wait_settled()
        wait_until(lambda: time.monotonic() > deleted_s + NOTICED_WITHIN_S)
        settled = len(load.outcomes)
        load.wait_for_requests(200)
    tell(load.summary())
    assert {each.result.partition("(")[0] for each in load.failures()} <= BROKEN_CONNECTION
    assert [each for each in load.outcomes[settled:] if each.result != OK] == []
    assert gone not in kdm.serving()


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
            load.wait_for_requests(1000)
            for address in pods.values():
                assert kdm.ask_pod(address, "GET", read).json() == {"deploymentName": READ, "replicaCount": 1}
        finally:
            kind_cluster.start_api_server()
        assert counts() == {1}
        for count, address in enumerate(pods.values(), start=2):
            wait_until(partial(_writes, kdm, address, write, count))
            wait_until(partial(lambda count: counts() == {count}, count))
        mended = len(load.outcomes)
        load.wait_for_requests(500)
        assert [each for each in load.outcomes[mended:] if each.result != OK] == []
    tell(load.summary())
    assert load.failures(KEPT, FRESH) == []
    refused = {each.result[:4] for each in load.failures(WRITE)}
    # An API server that has just begun forbids everything until it has read its own RBAC rules: 502.
    assert {"503 "} <= refused <= {"503 ", "502 "}
    assert kdm.serving() == pods


def _writes(kdm: Installation, address: str, path: str, count: int) -> bool:
    return kdm.ask_pod(address, "POST", path, {"replicaCount": count}).status_code == 200
