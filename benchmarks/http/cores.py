"""Which core carries whom, and how busy they are."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["Busy", "Layout", "pin", "used_s"]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
REALTIME = ("chrt", "--fifo", "50")


@dataclass(frozen=True)
class Layout:
    """Who runs where. With two cores the API server, and what changes Deployments, share the load generator's.

    Attributes:
        server: The core of the server under load, for it alone.
        load: The core of the load generator.
        rest: Those of everything else.
    """

    server: int
    load: int
    rest: frozenset[int]

    @classmethod
    def of_this_machine(cls) -> Self:
        """Divide the cores that this process may use.

        Raises:
            SystemExit: There is only one.
        """
        allowed = sorted(os.sched_getaffinity(0))
        if len(allowed) < 2:
            raise SystemExit("a server and what asks it need a core each, and there is one")
        server, load, *others = allowed
        return cls(server, load, frozenset(others or [load]))

    @property
    def all(self) -> frozenset[int]:
        """Every core that this process may use."""
        return self.rest | {self.server, self.load}

    def __str__(self) -> str:
        shared = "which the API server shares" if self.load in self.rest else "and the API server on others"
        return f"the server on core {self.server}, the load generator on core {self.load}, {shared}"

    def under_load(self, command: Sequence[str]) -> list[str]:
        """Put a server's command line on its core."""
        return ["taskset", "--cpu-list", str(self.server), *command]

    def beside(self, command: Sequence[str]) -> list[str]:
        """Put another command line where it does not disturb the server."""
        return ["taskset", "--cpu-list", ",".join(map(str, sorted(self.rest))), *command]

    def loading(self, command: Sequence[str], *, prompt: bool = False) -> list[str]:
        """Put the load generator's command line on its core.

        Args:
            command: The command line.
            prompt: Whether it goes before everything else there, so that what is measured is the server's delay and not
                its own: for a steady rate far below what a core can do. It needs CAP_SYS_NICE, and does without.
        """
        before = REALTIME if prompt and may_be_prompt() else ()
        return [*before, "taskset", "--cpu-list", str(self.load), *command]


def may_be_prompt() -> bool:
    """Return whether this process may give others a real-time priority."""
    return subprocess.run([*REALTIME, "true"], check=False, capture_output=True).returncode == 0


def pin(pid: int, cores: Iterable[int]) -> None:
    """Move a running process, with all its threads, to these cores."""
    allowed = set(cores)
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(int(thread.name), allowed)


def used_s(pid: int | None) -> float:
    """Return the processor time that a process has used, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S  # utime and stime: proc(5)


@dataclass(frozen=True)
class Busy:
    """Processor time that the machine, and some of its processes, have used so far, in seconds."""

    at_s: float
    all_s: float
    known_s: float

    @classmethod
    def now(cls, known: Iterable[int | None]) -> Self:
        """Read it.

        Args:
            known: The processes that are no disturbance.
        """
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
        stolen_and_worked = (1, 2, 3, 8)  # user, nice, system, steal; softirq is our own packets'
        all_s = sum(int(fields[each]) for each in stolen_and_worked) / TICKS_PER_S
        return cls(time.monotonic(), all_s, sum(map(used_s, known)))

    def others_since(self, before: Self, also_known_s: float = 0.0) -> float:
        """Return how many cores everything else kept busy.

        Args:
            before: When.
            also_known_s: What a process that has ended meanwhile had used, in seconds.
        """
        others_s = (self.all_s - before.all_s) - (self.known_s - before.known_s) - also_known_s
        return max(0.0, others_s) / (self.at_s - before.at_s)
