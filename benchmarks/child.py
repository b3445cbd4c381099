"""Processes of ours: one that obeys commands, a line of JSON for each, and one that is run for its output."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

__all__ = ["Child", "output", "running"]

ANSWER_TIMEOUT_S = 900.0
END_TIMEOUT_S = 10.0
LINE_LIMIT_BYTES = 64 * 2**20


class Child:
    """A process that answers each line on its standard input with a JSON object on its standard output.

    Attributes:
        pid: Its process id.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.pid = process.pid
        self._stdin, self._stdout = process.stdin, process.stdout

    async def ask(self, command: str) -> dict[str, Any]:
        """Send a command and return the answer."""
        self._stdin.write(f"{command}\n".encode())
        return await self.answer()

    async def answer(self) -> dict[str, Any]:
        """Return what it says next.

        Raises:
            AssertionError: It ended.
        """
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            line = await self._stdout.readline()
        if not line:
            raise AssertionError("the process has ended; what it wrote is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@asynccontextmanager
async def running(command: Sequence[str], environment: Mapping[str, str] | None = None) -> AsyncIterator[Child]:
    """Run a process that obeys; in the end let it quit, or kill it where it takes long: to free gigabytes, say."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=LINE_LIMIT_BYTES, env=environment
    )
    try:
        yield Child(process)
        assert process.stdin is not None
        process.stdin.write(b"quit\n")
        with suppress(TimeoutError):
            async with asyncio.timeout(END_TIMEOUT_S):
                await process.wait()
    finally:
        await _end(process)


async def output(command: Sequence[str]) -> bytes:
    """Run a process to its end and return what it wrote.

    Raises:
        AssertionError: It failed.
    """
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            written, _ = await process.communicate()
    finally:
        await _end(process)
    if process.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {process.returncode}; what it wrote is above")
    return written


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()
