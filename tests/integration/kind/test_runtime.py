"""The engine privileges containers as far as this machine may."""

from __future__ import annotations

import re
import signal
import subprocess
from pathlib import Path

import pytest

from integration.containers import daemon
from integration.containers.engine import Engine

BOUNDING = "import re; print(re.search('CapBnd:.*', open('/proc/self/status').read())[0].split()[1])"
PYTHON = "/opt/kdm/bin/python"


def test_a_privileged_container_has_every_capability_of_this_machine(kind_engine: Engine, kind_image: str) -> None:
    """What runs in it first, and what is run in it later. Those of Linux 5.8 and later Docker may not know."""
    known = (1 << 38) - 1
    here = int(re.findall(r"CapBnd:\s*(\w+)", Path("/proc/self/status").read_text(encoding="ascii"))[0], 16)
    privileged = ("--privileged", "--user=0", "--network=none", f"--entrypoint={PYTHON}")
    assert _capabilities(kind_engine.output(kind_image, "-c", BOUNDING, options=privileged)) & known == here & known
    with kind_engine.run(kind_image, "-c", "import signal; signal.pause()", options=privileged) as container:
        assert _capabilities(container.exec(PYTHON, "-c", BOUNDING, options=("--privileged",))) & known == here & known
        assert _capabilities(container.exec(PYTHON, "-c", BOUNDING)) & known == here & known


def test_an_ordinary_container_has_what_docker_gives_it(kind_engine: Engine, kind_image: str) -> None:
    """The fourteen of Docker's documentation, whatever the machine lacks."""
    ordinary = ("--user=0", "--network=none", f"--entrypoint={PYTHON}")
    assert _capabilities(kind_engine.output(kind_image, "-c", BOUNDING, options=ordinary)) == 0xA80425FB


@pytest.mark.usefixtures("kind_engine")  # which needs the same rights
def test_what_a_killed_runtime_left_frozen_is_ended_and_its_control_groups_go(tmp_path: Path) -> None:
    directory = tmp_path / "kdm-docker-frozen"
    directory.mkdir()
    freezer = Path("/sys/fs/cgroup/freezer")
    first = freezer if freezer.is_dir() else Path("/sys/fs/cgroup")
    group = first / directory.name / "container"
    group.mkdir(parents=True)
    with subprocess.Popen(["sleep", "600"]) as left:
        (group / "cgroup.procs").write_text(str(left.pid), encoding="ascii")
        if freezer.is_dir():
            (group / "freezer.state").write_text("FROZEN", encoding="ascii")
        else:
            (group / "cgroup.freeze").write_text("1", encoding="ascii")
        daemon.delete(directory)
        assert left.wait(30) == -signal.SIGKILL
    assert not group.parent.exists()


def _capabilities(printed: str) -> int:
    return int(printed, 16)
