"""The audit trail on a real disk that is nearly or wholly full: every sentence of the runbook about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.kdm_process import wait_until

from .outside import Kdm, fill_but, small_disk

URL = "/deployments/nginx-deployment/replicas"
PAGE_BYTES = 4096


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "4m") as path:
        yield path


@pytest.fixture
def kdm(disk: Path) -> Iterator[Kdm]:
    with Kdm({"AUDIT_FILE": str(disk / "audit.jsonl")}) as kdm:
        yield kdm


def metric(kdm: Kdm, name: str) -> float:
    (line,) = (each for each in kdm.metrics().splitlines() if each.startswith(name + " "))
    return float(line.partition(" ")[2])


def logged(kdm: Kdm, event: str) -> list[dict[str, str]]:
    lines = (json.loads(line) for line in kdm.stderr.text().splitlines())
    return [line for line in lines if line["event"].startswith(event)]


def trail(disk: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (disk / "audit.jsonl").read_text().splitlines()]


def test_less_than_a_mebibyte_free_refuses_writes_and_says_so(kdm: Kdm, disk: Path) -> None:
    """By metric and log line within seconds, without a write; nothing changes, reads go on, refusals are recorded."""
    assert metric(kdm, "kdm_audit_writable") == 1
    filler = fill_but(disk, 500_000)
    wait_until(lambda: metric(kdm, "kdm_audit_writable") == 0)
    (line,) = logged(kdm, "the audit trail cannot be written")
    assert (line["level"], line["reason"], line["trail"]) == (
        "error",
        "No space left on device",
        str(disk / "audit.jsonl"),
    )
    with kdm.client() as client:
        before = client.get(URL).json()
        for _ in range(3):
            refused = client.post(URL, json={"replicaCount": 9})
            assert (refused.status_code, "No space left on device" in refused.text) == (503, True)
        assert client.get(URL).json() == before
        assert [each["outcome"] for each in trail(disk)] == ["failed"] * 3
        assert metric(kdm, "kdm_audit_events_lost_total") == 0
        assert len(logged(kdm, "the audit trail")) == 1, "it is said once"

        filler.unlink()
        wait_until(lambda: metric(kdm, "kdm_audit_writable") == 1)
        assert client.post(URL, json={"replicaCount": 9}).status_code == 200
    assert len(logged(kdm, "the audit trail can be written again")) == 1


def test_what_is_lost_stands_in_the_log_as_the_json_of_the_trail(kdm: Kdm, disk: Path) -> None:
    """Refused writes, refused reads, which are answered, and rejected clients; counted, and none in the trail."""
    with kdm.client() as client:
        assert client.post(URL, json={"replicaCount": 2}).status_code == 200
    (recorded,) = trail(disk)
    with (disk / "audit.jsonl").open("ab") as file:  # the rest of its last page would take some lines more
        file.write(b"-" * (PAGE_BYTES - file.tell() - 1) + b"\n")
    fill_but(disk, 0)
    kdm.reject_strangers(2)
    with kdm.client() as client:
        assert client.post(URL, json={"replicaCount": 9}).status_code == 503
    with kdm.client("dev-viewer") as reader:
        denied = reader.post(URL, json={"replicaCount": 9})
        assert denied.status_code == 403
    wait_until(lambda: metric(kdm, "kdm_audit_events_lost_total") == 4)
    lost = [json.loads(each["event"][each["event"].index('{"time":') :]) for each in logged(kdm, "an audit event was")]
    assert [each.keys() for each in lost] == [recorded.keys()] * 4
    assert [(each["action"], each["outcome"], each["actor"]) for each in lost] == [
        ("connect", "denied", ""),
        ("connect", "denied", ""),
        ("scale", "failed", recorded["actor"]),
        ("scale", "denied", lost[3]["actor"]),
    ]
