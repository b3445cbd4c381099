"""A child process that tests start, freeze, kill and start again, and that dies with them."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["Process"]

PR_SET_PDEATHSIG = 1  # prctl(2)
LOG_TAIL_BYTES = 4096

# The kernel sends the parent-death signal when the *thread* that forked ends, so that all forks happen in one thread
# that lives as long as the interpreter. A restart asked for by a short-lived thread would otherwise not survive it.
_forks = ThreadPoolExecutor(max_workers=1, thread_name_prefix="controlplane-forks")


class Process:
    """One program with a fixed command line and log file; every start appends to the log.

    Its methods may be called from any thread, by one caller at a time.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.name = Path(command[0]).name
        self.log = log
        self._command = tuple(command)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, frozen or not."""
        return self._child.pid if self._child and self._child.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.pid is not None

    def start(self) -> None:
        """Start it; no effect while it runs."""
        if self.running:
            return
        die_with_parent = _die_with(os.getpid())
        with self.log.open("ab") as log:
            self._child = _forks.submit(
                subprocess.Popen,
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for us; we end our children in order
                preexec_fn=die_with_parent,  # it calls prctl and takes no lock
            ).result()
        atexit.register(self.kill)

    def stop(self, grace_s: float = 5.0) -> None:
        """Ask it to end with SIGTERM, and kill it after `grace_s` seconds."""
        if self._child and self.running:
            self._child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(grace_s)
        self.kill()

    def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone; no effect when it does not run."""
        atexit.unregister(self.kill)
        if self._child:
            self._child.kill()
            self._child.wait()

    def freeze(self) -> None:
        """Stop it in its tracks (SIGSTOP): its sockets stay open and accept connections, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run on (SIGCONT)."""
        self._signal(signal.SIGCONT)

    def log_tail(self) -> str:
        """Return the end of what it wrote to standard output and standard error."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as log:
            log.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
            return log.read().decode(errors="replace")

    def _signal(self, number: signal.Signals) -> None:
        if not self._child or not self.running:
            raise ProcessLookupError(f"{self.name} does not run")
        self._child.send_signal(number)


def _die_with(parent: int) -> Callable[[], None] | None:
    """Make the function that a fresh child calls to be killed when its parent dies, even by SIGKILL."""
    if sys.platform != "linux":
        return None  # elsewhere atexit has to do
    prctl = ctypes.CDLL(None).prctl

    def die_with_parent() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)

    return die_with_parent
