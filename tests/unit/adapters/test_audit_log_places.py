"""The trail goes on while its file is rotated under load, and lies on terminals and sockets."""

from __future__ import annotations

import json
import os
import pty
import shutil
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from kdm_adapters.audit_log import JsonLinesAuditSink
from kdm_core import LOCAL, AuditEvent, AuditUnavailable, Outcome, Verb

WRITERS: Final = 4
EVENTS: Final = 400
ROTATIONS: Final = 30
SCRIPT: Final = """
import os, sys
from datetime import UTC, datetime
from kdm_adapters.audit_log import JsonLinesAuditSink
from kdm_core import LOCAL, AuditEvent, Outcome, Verb
with JsonLinesAuditSink(sys.argv[1]) as trail:
    for n in range(3):
        trail.check()
        trail.record(AuditEvent(datetime.now(UTC), str(n), LOCAL.identity, Verb.SCALE, "shop", "web", Outcome.SUCCESS))
    try:
        os.open("/dev/tty", os.O_RDWR)
    except OSError:
        sys.exit(0)
    sys.exit("the terminal has become the process's own")
"""


def event(request_id: str) -> AuditEvent:
    return AuditEvent(datetime.now(UTC), request_id, LOCAL.identity, Verb.SCALE, "shop", "web", Outcome.SUCCESS)


@contextmanager
def load(path: Path) -> Iterator[tuple[set[str], Callable[[], bool]]]:
    """Write to a trail from many threads, each with a sink of its own as other processes have, until all is written.

    Yields:
        The ids of what is written, and whether writing is over.
    """
    ids = {f"{writer}-{number}" for writer in range(WRITERS) for number in range(EVENTS)}

    def write(writer: int) -> None:
        with JsonLinesAuditSink(str(path), wait_s=30) as trail:
            for number in range(EVENTS):
                trail.check()
                trail.record(event(f"{writer}-{number}"))

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for each in threads:
        each.start()
    try:
        yield ids, lambda: not any(each.is_alive() for each in threads)
    finally:
        for each in threads:
            each.join(120)


def rotated(path: Path, rotate: Callable[[Path], object], is_over: Callable[[], bool]) -> list[Path]:
    """Rotate a file again and again, each time that something has been written. Returns all there are in the end."""
    kept: list[Path] = []
    for number in range(ROTATIONS):
        while not (path.exists() and path.stat().st_size):
            if is_over():
                return [*kept, path]
            os.sched_yield()
        kept.append(path.with_name(f"{number}.jsonl"))
        rotate(kept[-1])
    return [*kept, path]


def lines(files: list[Path]) -> list[str]:
    return [line for file in files if file.exists() for line in file.read_text().splitlines(keepends=True)]


def test_a_rename_under_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with load(path) as (ids, is_over):
        files = rotated(path, path.rename, is_over)
    found = Counter(json.loads(line)["request_id"] for line in lines(files))
    assert set(found) == ids
    assert set(found.values()) == {1}


def test_copy_and_truncate_under_load_doubles_and_tears_nothing(tmp_path: Path) -> None:
    """What is written between the copy and the truncation is lost: that is how it works, so a rename is recommended.

    The last line of a copy may be one that is being written.
    """
    path = tmp_path / "audit.jsonl"

    def copy_and_truncate(to: Path) -> None:
        shutil.copyfile(path, to)
        os.truncate(path, 0)

    with load(path) as (ids, is_over):
        files = rotated(path, copy_and_truncate, is_over)
    whole = [line for line in lines(files) if line.endswith("\n")]
    found = Counter(json.loads(line)["request_id"] for line in whole if line != "\n")
    assert set(found) <= ids
    assert set(found.values()) == {1}
    assert "\0" not in "".join(whole)


def test_a_terminal_is_written_to_and_does_not_become_the_process_s_own() -> None:
    """Process 1 of a container leads a session without a terminal: the first that it opens would be its own."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, os.ttyname(theirs)],
            start_new_session=True, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
        shown = b""
        while shown.count(b"\n") < 3:
            shown += os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)
    assert [json.loads(line)["request_id"] for line in shown.decode().splitlines()] == ["0", "1", "2"]


def test_standard_output_may_be_a_socket() -> None:
    """As under systemd's or inetd's care."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, "-"],
            start_new_session=True, stdin=subprocess.DEVNULL, stdout=theirs.fileno(), stderr=subprocess.PIPE, text=True,
            timeout=60, check=False,
        )  # fmt: skip
        theirs.close()
        assert (done.returncode, done.stderr) == (0, "")
        with ours.makefile() as read:
            assert [json.loads(line)["request_id"] for line in read] == ["0", "1", "2"]


def test_the_name_of_a_socket_is_no_trail(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        with (
            JsonLinesAuditSink(str(tmp_path / "socket")) as trail,
            pytest.raises(AuditUnavailable, match="cannot be written: No such device or address"),
        ):
            trail.check()
