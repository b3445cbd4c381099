"""Pods that try whether they reach something, and that can be reached themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from integration.kdm_process import wait_until

from .cluster import KindCluster

__all__ = ["PORTS", "Place", "Stranger", "connections", "created"]

PORTS: Final = (53, 8080, 8443)
"""TCP ports that each of these Pods listens on: DNS', one that nobody means, and one of those that API servers have."""
READY_WITHIN_S: Final = 60

Place = tuple[str, int]
"""A host and a port."""

LISTEN: Final = """
import selectors, socket, sys
listeners = selectors.DefaultSelector()
for port in map(int, sys.argv[1:]):
    listeners.register(socket.create_server(("", port)), selectors.EVENT_READ)
while True:
    for key, _ in listeners.select():
        key.fileobj.accept()[0].close()
"""
CONNECT: Final = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor
def connect(place):
    try:
        socket.create_connection(place, timeout=5).close()
    except OSError:
        return False
    return True
places = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(places)) as threads:
    print(json.dumps(list(threads.map(connect, places))))
"""


class Stranger:
    """A Pod of kdm's image that does something else: it listens on `PORTS`.

    Args:
        cluster: Where.
        image: kdm's.
        namespace: Which exists.
        name: The Pod's.
        labels: The Pod's.
    """

    def __init__(
        self, cluster: KindCluster, image: str, namespace: str, name: str, labels: Mapping[str, str] | None = None
    ) -> None:
        self.namespace = namespace
        self.name = name
        self.manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": namespace, "labels": labels or {}},
            "spec": {
                "containers": [
                    {
                        "name": "stranger",
                        "image": image,
                        "command": ["python3", "-c", LISTEN, *map(str, PORTS)],
                        "securityContext": {"runAsUser": 0},  # port 53
                    }
                ],
                "terminationGracePeriodSeconds": 0,
            },
        }
        self._cluster = cluster

    def address(self) -> str:
        """Return its IP address, once it runs."""
        where = f"--namespace={self.namespace}"
        return self._cluster.access.kubectl("get", "pod", self.name, where, "--output=jsonpath={.status.podIP}")

    def reaches(self, places: Iterable[Place]) -> list[Place]:
        """Return those that it can connect to by TCP, in the same order."""
        return connections(self._cluster, self.namespace, self.name, places)


def created(cluster: KindCluster, strangers: Iterable[Stranger]) -> None:
    """Create Pods and return once all of them are Ready."""
    listed = list(strangers)
    for namespace in {each.namespace for each in listed}:  # no Pod is admitted before its service account is there
        command = ("wait", "serviceaccount/default", f"--namespace={namespace}", "--for=create")
        cluster.access.kubectl(*command, f"--timeout={READY_WITHIN_S}s", timeout_s=READY_WITHIN_S + 10)
    items: list[Any] = [each.manifest for each in listed]
    cluster.access.kubectl(
        "create", "--filename=-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    )
    for each in listed:
        command = ("wait", f"pod/{each.name}", f"--namespace={each.namespace}", "--for=condition=Ready")
        cluster.access.kubectl(*command, f"--timeout={READY_WITHIN_S}s", timeout_s=READY_WITHIN_S + 10)


def connections(cluster: KindCluster, namespace: str, pod: str, places: Iterable[Place]) -> list[Place]:
    """Return the places that a Pod with Python, such as kdm's, can connect to by TCP, in the same order."""
    tried = list(places)
    command = ("exec", pod, f"--namespace={namespace}", "--", "python3", "-c", CONNECT, json.dumps(tried))
    answers = json.loads(cluster.access.kubectl(*command))
    return [place for place, answer in zip(tried, answers, strict=True) if answer]


def settles(found: Any, expected: object) -> None:
    """Wait until what a call finds is as expected: a change of a policy takes a moment to reach each node.

    Raises:
        AssertionError: It was not in time; the message has both.
    """
    last: list[object] = []

    def equal() -> bool:
        last[:] = [found()]
        return last[0] == expected

    try:
        wait_until(equal, READY_WITHIN_S)
    except TimeoutError:
        raise AssertionError(f"{last[0]} is not {expected}") from None
