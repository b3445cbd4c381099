"""kdm as a process of its own that starts in a fraction of a second: forked from one that has imported everything."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final

from .kdm_process import CERTS, KdmProcess, Running

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        "kdm_cli.main",
        "kdm_cli.serve",
        "kdm_cli.policy",
        "kdm_cli.certs",
        "kdm_adapters.kubernetes.repository",
        "kdm_adapters.kubernetes.parking",
        "litestar.plugins.attrs",
        "litestar.plugins.pydantic",
    ]
)


class KdmFork(KdmProcess):
    """`kdm serve`, whose imports are shared with all others of this class. In all else it is a process like any other.

    What `kdm_cli.__main__` sets up before the imports is missing: OpenSSL's configuration, and early signals.
    """

    def _start(self, environment: dict[str, str]) -> Running:
        self._log.touch()
        process = _FORKS.Process(target=_serve, args=(self._arguments, environment, self._log), daemon=True)
        process.start()
        return _Fork(process)


class _Fork:
    def __init__(self, process: BaseProcess) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("kdm", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _serve(arguments: list[str], environment: dict[str, str], log: Path) -> None:
    from kdm_cli.main import main  # noqa: PLC0415 - as in the process that forks

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(CERTS.parent)
    with log.open("wb") as output:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(output.fileno(), stream.fileno())
    sys.exit(main(arguments))
