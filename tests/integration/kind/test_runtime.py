"""The engine privileges containers as far as this machine may."""

from __future__ import annotations

from pathlib import Path

from integration.containers.engine import Engine

BOUNDING = "import re; print(re.search('CapBnd:.*', open('/proc/self/status').read())[0].split()[1])"
PYTHON = "/opt/kdm/bin/python"


def test_a_privileged_container_has_every_capability_of_this_machine(kind_engine: Engine, kind_image: str) -> None:
    """What runs in it first, and what is run in it later."""
    privileged = ("--privileged", "--user=0", "--network=none", f"--entrypoint={PYTHON}")
    here = _capabilities(Path("/proc/self/status").read_text(encoding="ascii").split("CapBnd:")[1].split()[0])
    assert _capabilities(kind_engine.output(kind_image, "-c", BOUNDING, options=privileged)) == here
    with kind_engine.run(kind_image, "-c", "import signal; signal.pause()", options=privileged) as container:
        assert _capabilities(container.exec(PYTHON, "-c", BOUNDING, options=("--privileged",))) == here
        assert _capabilities(container.exec(PYTHON, "-c", BOUNDING)) == here


def test_an_ordinary_container_has_what_docker_gives_it(kind_engine: Engine, kind_image: str) -> None:
    """The fourteen of Docker's documentation, whatever the machine lacks."""
    ordinary = ("--user=0", "--network=none", f"--entrypoint={PYTHON}")
    assert _capabilities(kind_engine.output(kind_image, "-c", BOUNDING, options=ordinary)) == 0xA80425FB


def _capabilities(printed: str) -> int:
    return int(printed, 16)
