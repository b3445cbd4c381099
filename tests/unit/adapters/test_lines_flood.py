"""More lines than anybody reads: the event loop turns on, and every line is written whole or counted."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Final

from kdm_adapters.lines import LineWriter

LINES: Final = 1_000_000
IN_A_ROW: Final = 1000
"""Lines that are written in one turn of the event loop."""


class SlowReader:
    """Reads a piece from a pipe each time that it is told to, and the rest in the end."""

    def __init__(self, reading: int) -> None:
        self.text = bytearray()
        self._reading = reading
        self._turns = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def read_a_piece(self) -> None:
        self._turns.release()

    def read_the_rest(self) -> None:
        self._turns.release(10**6)
        self._thread.join(120)

    def _run(self) -> None:
        while self._turns.acquire() and (piece := os.read(self._reading, 4096)):
            self.text += piece


async def test_a_million_lines_to_a_slow_reader() -> None:
    reading, writing = os.pipe()
    reader, writer = SlowReader(reading), LineWriter(writing)
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    turning = asyncio.create_task(turn())
    for start in range(0, LINES, IN_A_ROW):
        for number in range(start, start + IN_A_ROW):
            writer.write(f"line {number}")
        reader.read_a_piece()
        await asyncio.sleep(0)
    turning.cancel()
    assert turns >= LINES // IN_A_ROW, "others had their turn after each row"
    rest = asyncio.create_task(asyncio.to_thread(reader.read_the_rest))
    assert await asyncio.to_thread(writer.drain, 120)
    writer.close(60)
    os.close(writing)
    await rest
    os.close(reading)
    written = [int(line.removeprefix(b"line ")) for line in bytes(reader.text).splitlines()]
    assert written == sorted(set(written)), "in order, each once, and whole"
    assert writer.dropped > 0
    assert len(written) + writer.dropped == LINES
