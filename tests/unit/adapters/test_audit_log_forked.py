"""The trail in programs that fork, as pre-forking servers and multiprocessing do: every process writes on."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kdm_adapters.audit_log import JsonLinesAuditSink
from kdm_core import LOCAL, AuditEvent, AuditUnavailable, Outcome, Verb

EVENT = AuditEvent(datetime(2026, 7, 1, tzinfo=UTC), "r", LOCAL.identity, Verb.SCALE, "shop", "web", Outcome.SUCCESS)

# From Python 3.12 on; what it warns of is what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


def succeeds_in_a_child(job: Callable[[], object]) -> bool:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            job()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_forked_process_records_to_the_trail_that_its_parent_had_in_use(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with JsonLinesAuditSink(str(path)) as sink:
        sink.record(EVENT)
        assert succeeds_in_a_child(lambda: sink.record(EVENT))
        sink.record(EVENT)
    assert len(path.read_text().splitlines()) == 3


def test_a_process_that_is_forked_while_a_line_is_overdue_does_not_wait_for_it(tmp_path: Path) -> None:
    """The parent's thread stands still within a long line to a full pipe; the child has not that thread."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with JsonLinesAuditSink(str(path)) as sink:
            with suppress(AuditUnavailable):
                while True:
                    sink.record(EVENT)

            def read_and_record() -> None:
                while select.select([reader], [], [], 0)[0]:
                    os.read(reader, 65536)
                sink.record(EVENT)

            assert succeeds_in_a_child(read_and_record)
    finally:
        os.close(reader)
