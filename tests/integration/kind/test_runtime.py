"""The engine privileges containers as far as this machine may."""

from __future__ import annotations

import re
from pathlib import Path

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


def _capabilities(printed: str) -> int:
    return int(printed, 16)
