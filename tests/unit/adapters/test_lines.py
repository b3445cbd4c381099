"""Lines for descriptors whose reader or disk may stand still: whoever writes goes on, and no two lines mix."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kdm_adapters import lines
from kdm_adapters.lines import LineWriter, WholeLines
from kdm_adapters.side_thread import SideThread, Stalled

DEADLINE_S = 30.0
LONG = 3 * select.PIPE_BUF


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe's ends, for a test to close either."""
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        with suppress(OSError):  # a test closed it
            os.close(fd)


def fill(fd: int, leave: int = 0) -> int:
    """Fill a pipe up, but for so many bytes. Returns how many bytes that took."""
    capacity = fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ)
    os.write(fd, b"x" * (capacity - leave - 1) + b"\n")
    return capacity - leave


def read_exactly(fd: int, count: int) -> bytes:
    read = b""
    while len(read) < count:
        piece = os.read(fd, count - len(read))
        assert piece, "the writer has gone"
        read += piece
    return read


class TestLineWriter:
    def test_a_pipe_that_nobody_reads_holds_up_nobody(
        self, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Lines wait up to a bound, those beyond are dropped and counted, and the reader gets whole lines in order."""
        monkeypatch.setattr(lines, "MAX_WAITING_BYTES", 100_000)
        reader, fd = pipe
        filled = fill(fd, leave=select.PIPE_BUF)  # POLLOUT says yes
        writer = LineWriter(fd)
        written = [f"{number} " + "y" * LONG for number in range(20)]
        taken = [line for line in written if writer.write(line)]
        assert 5 < len(taken) < 20
        assert writer.dropped == 20 - len(taken)
        expected = "".join(f"{line}\n" for line in taken).encode()
        assert read_exactly(reader, filled + len(expected))[filled:] == expected
        assert writer.drain(DEADLINE_S)
        assert writer.write("room again")
        assert read_exactly(reader, 11) == b"room again\n"
        writer.close(DEADLINE_S)

    @pytest.mark.parametrize("kind", ["pipe", "nonblocking pipe", "socket", "terminal"])
    def test_every_kind_of_reader_that_stands_still(self, kind: str) -> None:
        """A blocking or non-blocking pipe, a socket as systemd gives, a terminal that was stopped: all whole lines."""
        reader, fd = {
            "pipe": os.pipe,
            "nonblocking pipe": os.pipe,
            "socket": lambda: tuple(end.detach() for end in socket.socketpair()),
            "terminal": pty.openpty,
        }[kind]()
        if kind == "nonblocking pipe":
            os.set_blocking(fd, False)
        if kind == "terminal":
            attributes = termios.tcgetattr(fd)
            attributes[1] &= ~termios.OPOST
            termios.tcsetattr(fd, termios.TCSANOW, attributes)
        writer = LineWriter(fd)
        expected = [f"{number} " + "z" * 5000 for number in range(100)]
        assert all(list(map(writer.write, expected)))
        assert not writer.drain(0), "half a megabyte is more than any of them holds"
        wanted = "".join(f"{line}\n" for line in expected).encode()
        assert read_exactly(reader, len(wanted)) == wanted
        writer.close(DEADLINE_S)
        os.close(fd)
        os.close(reader)

    def test_a_reader_that_is_gone_is_counted_and_raises_nothing(self, pipe: tuple[int, int]) -> None:
        reader, fd = pipe
        os.close(reader)
        writer = LineWriter(fd)
        assert writer.write("into the void")
        writer.close(DEADLINE_S)
        assert writer.dropped == 1

    def test_a_full_disk_is_counted_and_raises_nothing(self) -> None:
        with Path("/dev/full").open("wb", buffering=0) as full:
            writer = LineWriter(full.fileno())
            writer.write("no room")
            writer.close(DEADLINE_S)
        assert writer.dropped == 1

    def test_two_writers_of_one_pipe_do_not_mix_their_lines(self, pipe: tuple[int, int]) -> None:
        """As with `2>&1`: long lines into a full pipe, where each can only be written in parts."""
        reader, fd = pipe
        filled = fill(fd)
        other = os.dup(fd)
        writers = [LineWriter(fd), LineWriter(other)]
        for number in range(50):
            for who, writer in enumerate(writers):
                writer.write(json.dumps([who, number, "w" * LONG]))
        total = sum(len(json.dumps([who, number, "w" * LONG])) + 1 for who in range(2) for number in range(50))
        got = read_exactly(reader, filled + total)[filled:].decode().splitlines()
        parsed = [json.loads(line)[:2] for line in got]
        assert sorted(parsed) == [[who, number] for who in range(2) for number in range(50)]
        for writer in writers:
            writer.close(DEADLINE_S)
        os.close(other)

    def test_what_is_no_unicode_is_written_too(self, pipe: tuple[int, int]) -> None:
        reader, fd = pipe
        writer = LineWriter(fd)
        writer.write("a \udcff name")
        assert read_exactly(reader, 14) == b"a \\udcff name\n"
        writer.close(DEADLINE_S)


def test_after_a_torn_line_the_next_stands_on_its_own(pipe: tuple[int, int]) -> None:
    reader, fd = pipe
    whole = WholeLines()
    whole.torn = True
    whole.write(fd, b"next\n")
    assert read_exactly(reader, 6) == b"\nnext\n"


class TestSideThread:
    def test_a_call_that_is_overdue_lets_the_next_ones_fail_at_once(self) -> None:
        """And the first that comes after it was done is done again: nothing is left behind."""
        thread = SideThread("test")
        gate, passed = threading.Event(), threading.Event()

        def hang() -> None:
            gate.wait(DEADLINE_S)
            passed.set()

        with pytest.raises(Stalled):
            thread.call(hang, 0.01)
        for _ in range(1000):
            with pytest.raises(Stalled):
                thread.call(lambda: None, DEADLINE_S)
        gate.set()
        assert passed.wait(DEADLINE_S)
        assert thread.drain(DEADLINE_S)
        assert thread.call(lambda: "done", DEADLINE_S) == "done"
        thread.close(DEADLINE_S)

    def test_what_had_not_begun_in_time_is_withdrawn(self) -> None:
        thread = SideThread("test")
        gate = threading.Event()
        done: list[str] = []
        thread.do(lambda: gate.wait(DEADLINE_S))
        with pytest.raises(Stalled):
            thread.call(lambda: done.append("late"), 0.01)
        gate.set()
        thread.close(DEADLINE_S)
        assert done == []

    def test_closing_does_not_wait_for_what_hangs(self) -> None:
        thread = SideThread("test")
        gate = threading.Event()
        thread.do(lambda: gate.wait(DEADLINE_S))
        thread.close(0.01)
        assert thread.call(lambda: 1, DEADLINE_S) == 1, "another thread took over"
        gate.set()
        thread.close(DEADLINE_S)


def test_a_side_thread_leaves_signals_to_the_main_thread() -> None:
    """But not what a thread brings upon itself, of which faulthandler writes."""
    thread = SideThread("kdm-test")
    blocked = thread.call(lambda: signal.pthread_sigmask(signal.SIG_BLOCK, []), 10)
    thread.close(10)
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2} <= blocked
    assert signal.SIGSEGV not in blocked
