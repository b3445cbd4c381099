"""TAB in real shells, at a terminal: what stands in the line afterwards is what kdm is run with."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from .kdm_process import CERTS, KdmProcess
from .unavailable import unavailable

INTERACTIVE: Final = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "--no-rcs", "-i"],
    "fish": ["fish", "--no-config", "--interactive"],
}
BEFORE: Final = {"bash": "", "zsh": "autoload -U compinit; compinit -u -D; ", "fish": ""}
"""What has to stand before the completion: zsh's own."""
PROGRAM: Final = """#!/bin/sh
# Completes as kdm does, and does nothing but say with which arguments it was run.
[ -n "$_KDM_COMPLETE" ] && exec {python} -m kdm_cli "$@"
printf 'ran'; printf '<%s>' "$@"; echo
"""
WITHIN_S: Final = 60.0
CASES: Final = {
    "kdm sc\t": ["scale"],
    "kdm get red\t": ["get", "redis-deployment"],
    "kdm get shop/sto\t": ["get", "shop/storefront"],
    "kdm get -n sh\t sto\t": ["get", "-n", "shop", "storefront"],
    "kdm get --namesp\tshop sto\t": ["get", "--namespace", "shop", "storefront"],
    "kdm scale shop/sto\t": ["scale", "shop/storefront=10"],
    "kdm scale shop/storefront=\t": ["scale", "shop/storefront=10"],
    "kdm get --context bo\t": ["get", "--context", "bob"],
    "kdm get --context carol@pr\t": ["get", "--context", "carol@prod"],
    "kdm get --context=carol@\t": ["get", "--context=carol@prod"],
    "kdm get --state stalled,bl\t": ["get", "--state", "stalled,blocked"],
    "kdm watch -A nothing-is-called-thi\t": ["watch", "-A", "nothing-is-called-thi"],
}


class Terminal:
    """A shell that a person sits at.

    Args:
        command: How it is started.
        environment: Its variables.
        directory: Where it works.
    """

    def __init__(self, command: list[str], environment: dict[str, str], directory: Path) -> None:
        self._ours, theirs = pty.openpty()
        at_a_terminal = ["setsid", "--ctty", *command]
        self._process = subprocess.Popen(
            at_a_terminal, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=directory
        )
        os.close(theirs)
        self.shown = ""

    def types(self, keys: str) -> None:
        """Press keys."""
        os.write(self._ours, keys.encode())

    def shows(self, text: str) -> None:
        """Wait until something is shown that was not before; what was read goes.

        Raises:
            AssertionError: It does not come.
        """
        until = time.monotonic() + WITHIN_S
        while text not in self.shown:
            ready, _, _ = select.select([self._ours], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"{text!r} does not come: {self.shown!r}"
            self.shown += os.read(self._ours, 65536).decode(errors="replace")
        self.shown = self.shown.partition(text)[2]

    def close(self) -> None:
        """Close the window."""
        os.close(self._ours)
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A user with three contexts, all of a kdm with demo data."""
    home = tmp_path_factory.mktemp("home")
    program = home / "kdm"
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KDM_", "XDG_"))}
    with KdmProcess({}, home / "log") as kdm:
        kdm.wait_ready()
        contexts = home / "contexts.toml"
        variables = {
            **clean,
            "HOME": str(home),
            "KDM_CONFIG": str(contexts),
            "PATH": f"{home}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TERM": "xterm",
        }
        for name in ("alice", "bob", "carol@prod"):
            pair = [f"--cert={CERTS}/dev-admin.pem", f"--key={CERTS}/dev-admin-key.pem"]
            added = ["context", "add", name, f"--server={kdm.url}", f"--ca={CERTS}/dev-ca.pem", *pair]
            subprocess.run([sys.executable, "-m", "kdm_cli", *added], env=variables, check=True, stdout=subprocess.PIPE)
        yield variables


@pytest.fixture(params=INTERACTIVE)
def terminal(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> Iterator[Terminal]:
    """Each shell, after it has read what its user's start-up file would have."""
    shell = str(request.param)
    if shutil.which(shell) is None:
        unavailable(f"there is no {shell}")
    command = [sys.executable, "-m", "kdm_cli", "completion", shell]
    script = tmp_path / "completion"
    script.write_bytes(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
    terminal = Terminal(INTERACTIVE[shell], environment, tmp_path)
    try:
        terminal.types(f"{BEFORE[shell]}. {script}; echo rea''dy\n")
        terminal.shows("ready")
        yield terminal
    finally:
        terminal.close()


def test_tab_completes_what_kdm_is_then_run_with(terminal: Terminal) -> None:
    """From commands, flags, contexts and the server's namespaces and names."""
    for keys, arguments in CASES.items():
        terminal.types(f"{keys}\n")
        terminal.shows("ran" + "".join(f"<{each}>" for each in arguments))
