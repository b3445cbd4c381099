"""Certificates and policy of running Pods are changed through the cluster, and no Pod is restarted."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from integration.kdm_process import wait_until

from .installation import POLICY, SHOP, Installation

VIEWERS = """
[[grant]]
name = "viewers"
users = ["viewer"]
verbs = ["read"]
namespaces = ["*"]
"""


@contextmanager
def nothing_restarts(kdm: Installation) -> Iterator[list[str]]:
    """Give the Pods' addresses, and see that the same Pods run on, each in the same container."""

    def identities() -> dict[str, Any]:
        return {
            name: [each["containerID"] for each in pod["status"]["containerStatuses"]]
            for name, pod in kdm.pods().items()
        }

    before = identities()
    yield list(kdm.serving().values())
    assert identities() == before


def test_a_renewed_certificate_in_the_secret_is_shown_by_every_pod(kdm: Installation) -> None:
    with nothing_restarts(kdm) as pods:
        before = kdm.server_certificate()
        assert {kdm.shown_certificate(address) for address in pods} == {_leaf(before)}
        kdm.renew_server_certificate()
        renewed = kdm.server_certificate()
        assert renewed != before
        wait_until(lambda: {kdm.shown_certificate(address) for address in pods} == {_leaf(renewed)}, 90)


def test_a_changed_policy_in_the_config_map_is_followed_by_every_pod(kdm: Installation) -> None:
    path = f"/deployments?namespace={SHOP}"

    def statuses(pods: list[str]) -> set[int]:
        return {kdm.ask_pod(address, "GET", path, user="viewer").status_code for address in pods}

    with nothing_restarts(kdm) as pods:
        assert statuses(pods) == {403}
        kdm.release.upgrade(policy={"toml": POLICY + VIEWERS})
        wait_until(lambda: statuses(pods) == {200}, 90)
        kdm.release.upgrade()
        wait_until(lambda: statuses(pods) == {403}, 90)


def _leaf(chain: str) -> str:
    return ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(chain)).strip()
