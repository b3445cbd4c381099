"""The commands of the runbooks, run as they stand there against what a real kdm wrote."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from integration.kdm_process import wait_until

from .outside import Kdm

RUNBOOKS: Final = (Path(__file__).parents[3] / "docs" / "runbooks.md").read_text()
COMMANDS: Final = [
    line
    for block in re.findall(r"^```sh\n(.*?)^```", RUNBOOKS, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
URL: Final = "/deployments/nginx-deployment/replicas"
LOGS: Final = "kubectl logs deploy/kdm"


def shell(command: str, log: str = "", ops_url: str = "") -> str:
    """Run a command of the runbook with a log in place of kubectl's, and a process in place of a port-forward."""
    command = command.replace(LOGS, "cat").replace("localhost:8081", urlsplit(ops_url).netloc)
    done = subprocess.run(
        ["/bin/sh", "-c", command], input=log, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def of_logs(style: str) -> list[str]:
    """Return the commands that read a log of one style, in order: the first filters, the second finds lost events."""
    json_style = [each for each in COMMANDS if LOGS in each and "| jq " in each]
    console = [each for each in COMMANDS if LOGS in each and "| jq " not in each]
    return json_style if style == "json" else console


@pytest.mark.parametrize("style", ["json", "console"])
def test_commands_that_read_the_log_find_what_they_are_for(style: str) -> None:
    """All that is more than information, and every lost event, byte for byte the line that the trail would have had."""
    with Kdm({"AUDIT_FILE": "/dev/full", "LOG_FORMAT": style}) as kdm:
        kdm.reject_strangers(2)
        with kdm.client() as client:
            answer = client.post(URL, json={"replicaCount": 9})
            assert (answer.status_code, "was done, but not recorded" in answer.text) == (503, True)
        wait_until(lambda: kdm.stderr.text().count("an audit event was lost") == 3)
        kdm.assert_ends()
        log = kdm.stderr.text()
    recorded = '{"time":"2026-01-01T00:00:00.000000Z","action":"scale"}\n'  # what standard output adds to a Pod's log
    above_info, lost = of_logs(style)

    shown = shell(above_info, log + recorded).splitlines()
    assert shown
    assert len(shown) == sum(
        bool(re.search(r'"level": "(warning|error)"|\[(warning|error) +\]', each)) for each in log.splitlines()
    )
    assert sum("an audit event was lost" in each for each in shown) == 3

    events = [json.loads(line) for line in shell(lost, log + recorded).splitlines()]
    assert [(each["action"], each["outcome"]) for each in events] == [
        ("connect", "denied"),
        ("connect", "denied"),
        ("scale", "success"),
    ]
    assert events[2]["new_replicas"] == 9
    assert list(events[2])[:2] == ["time", "request_id"]


def test_commands_that_ask_an_instance_are_answered() -> None:
    asking = [each for each in COMMANDS if each.startswith("curl")]
    with Kdm({}) as kdm:
        answers = [shell(each, ops_url=kdm.ops_url) for each in asking]
    assert len(answers) == 2
    assert json.loads(answers[0]) == {"status": "ready"}
    assert "kdm_cache_synced 1.0" in answers[1]


def test_no_command_is_left_out() -> None:
    assert len(COMMANDS) == len(of_logs("json")) + len(of_logs("console")) + 2
