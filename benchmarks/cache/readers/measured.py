"""Runs a reader in a process of its own and answers commands about it, a JSON object for each line of standard input.

benchmarks/peers/clientgo obeys the same commands:

============ =========================================================================================================
(none yet)   `rss_bytes` with everything imported and configured and nothing connected: the baseline
start        read everything; then `sync_s`, `sync_cpu_s`, `objects`
memory       `rss_bytes` now and `peak_rss_bytes` since the baseline
follow       from now on remember when a change became visible; `cpu_s` the process has used
events       `cpu_s`, and `events`: pairs of resourceVersion and nanoseconds of CLOCK_MONOTONIC, which processes share
heap         collect garbage and give free memory back; `rss_bytes` then, `heap_bytes` of live objects where known
quit         end
============ =========================================================================================================
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import gc
import json
import re
import sys
import time
import tracemalloc
from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

__all__ = ["Reader", "main", "status_bytes"]

Seen = Callable[[str], None]


class Reader(Protocol):
    """A watch cache to measure. Made with everything imported; connects in `start` and not before."""

    @abstractmethod
    async def start(self, objects: int) -> int:
        """Read every Deployment and keep following.

        Args:
            objects: How many there are, for a reader that cannot tell when it is complete.

        Returns:
            How many it holds.
        """

    @abstractmethod
    async def follow(self, seen: Seen) -> None:
        """Call `seen` with the resourceVersion of each change when reads show it; return when that is arranged."""

    async def stop(self) -> None:
        """Disconnect, where that is needed to end."""
        return


async def _obey(reader: Reader, *, traced: bool) -> None:
    gc.collect()
    if traced:
        tracemalloc.start()
    _reset_peak()
    _answer(rss_bytes=status_bytes("VmRSS"))
    events: list[tuple[int, int]] = []
    while command := (await asyncio.to_thread(sys.stdin.readline)).split():
        match command:
            case ["start", objects]:
                started_s, cpu_s = time.monotonic(), time.process_time()
                held = await reader.start(int(objects))
                _answer(sync_s=time.monotonic() - started_s, sync_cpu_s=time.process_time() - cpu_s, objects=held)
            case ["memory"]:
                _answer(rss_bytes=status_bytes("VmRSS"), peak_rss_bytes=status_bytes("VmHWM"))
            case ["follow"]:
                await reader.follow(lambda version: events.append((int(version), time.monotonic_ns())))
                _answer(cpu_s=time.process_time())
            case ["events"]:
                _answer(cpu_s=time.process_time(), events=events)
            case ["heap"]:
                gc.collect()
                ctypes.CDLL(None).malloc_trim(0)
                heap_bytes = tracemalloc.get_traced_memory()[0] if traced else None
                _answer(heap_bytes=heap_bytes, rss_bytes=status_bytes("VmRSS"))
            case _:
                break
    await reader.stop()


def main(make: Callable[[Path], Reader], run: Callable[..., None] = asyncio.run) -> None:
    """Run a reader as a program.

    Args:
        make: Makes it from the path of a kubeconfig.
        run: Runs a coroutine: the event loop of the reader's choice.
    """
    parser = argparse.ArgumentParser(description="Measure a reader; see benchmarks/cache.")
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--traced", action="store_true", help="count Python's own allocations: slow")
    arguments = parser.parse_args()

    async def measure() -> None:
        await _obey(make(arguments.kubeconfig), traced=arguments.traced)

    run(measure())


def status_bytes(field: str, pid: int | str = "self") -> int:
    """Read a size from /proc/PID/status, in bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise LookupError(f"/proc/{pid}/status has no {field}")
    return int(found[1]) * 1024


def _reset_peak() -> None:
    """Make VmHWM the peak from now on: proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")


def _answer(**values: object) -> None:
    print(json.dumps(values), flush=True)
