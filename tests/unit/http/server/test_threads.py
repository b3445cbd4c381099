"""Threads that may hang: they serve their event loop, and nothing waits for them in the end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from typing import Final

import pytest
import uvloop

from kdm_http.server import threads
from kdm_http.server.threads import AbandonableThreads

HANGING: Final = """
import asyncio, sys, threading
import uvloop
from kdm_http.server.threads import AbandonableThreads

async def main():
    asyncio.get_running_loop().set_default_executor(AbandonableThreads())
    hung = threading.Event()
    def hang():
        hung.set()
        threading.Event().wait()
    task = asyncio.create_task(asyncio.to_thread(hang))
    assert await asyncio.to_thread(hung.wait, 60)
    task.cancel()
    print("ends")

factories = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
with asyncio.Runner(loop_factory=factories[sys.argv[1]]) as runner:
    runner.run(main())
"""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_thread_that_hangs_does_not_keep_the_process_from_ending(loop: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGING, loop], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")


async def test_results_and_errors_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls there are at once."""
    monkeypatch.setattr(threads, "MAX_THREADS", 3)
    executor = AbandonableThreads()
    loop = asyncio.get_running_loop()
    gate = threading.Event()
    waiting = [loop.run_in_executor(executor, gate.wait, 30) for _ in range(3)]
    results = [loop.run_in_executor(executor, int, str(number)) for number in range(20)]
    failing = loop.run_in_executor(executor, int, "x")
    gate.set()
    assert await asyncio.gather(*waiting) == [True] * 3
    assert await asyncio.gather(*results) == list(range(20))
    with pytest.raises(ValueError, match="invalid literal"):
        await failing


def test_a_call_whose_loop_is_closed_ends_quietly() -> None:
    gate = threading.Event()
    executor = AbandonableThreads()

    async def ask() -> None:
        asyncio.get_running_loop().run_in_executor(executor, gate.wait, 30)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())
    gate.set()
