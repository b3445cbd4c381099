"""The audit trail as JSON lines."""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import re
import resource
import select
import signal
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters import audit_log
from kdm_adapters.audit_log import JsonLinesAuditSink
from kdm_core import AuditEvent, AuditUnavailable, Identity, Outcome, ServiceInstrument, Verb
from kdm_core.trail import MAX_FIELD_LENGTH, MAX_GROUPS, to_line

EVENT = AuditEvent(
    time=datetime(2026, 7, 1, 12, 0, 0, 5, UTC),
    request_id="r-1",
    actor=Identity("alice", frozenset({"kdm:shop", "kdm:admins"}), "ab12", "192.0.2.1:4711"),
    verb=Verb.SCALE,
    namespace="shop",
    name="web",
    outcome=Outcome.SUCCESS,
    old_replicas=1,
    new_replicas=3,
    latency_s=0.0123456,
)


class Losses(ServiceInstrument):
    """Counts what it is told of lost events."""

    def __init__(self) -> None:
        self.lost = 0

    def audit_lost(self) -> None:
        self.lost += 1


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "audit.jsonl"


@pytest.fixture
def sink(file: Path) -> Iterator[JsonLinesAuditSink]:
    with JsonLinesAuditSink(str(file)) as sink:
        yield sink


def names(file: Path) -> list[str]:
    return [json.loads(line)["name"] for line in file.read_bytes().splitlines()]


def named(name: str) -> AuditEvent:
    return evolve(EVENT, name=name)


def record_many(sink: JsonLinesAuditSink, name: str, count: int) -> None:
    for _ in range(count):
        sink.record(named(name))


class TestLines:
    def test_an_event_is_one_line_that_tells_all_of_it(self) -> None:
        line = to_line(EVENT)
        assert line.endswith(b"}\n")
        assert json.loads(line) == {
            "time": "2026-07-01T12:00:00.000005Z",
            "request_id": "r-1",
            "actor": "alice",
            "groups": ["kdm:admins", "kdm:shop"],
            "fingerprint": "ab12",
            "peer": "192.0.2.1:4711",
            "action": "scale",
            "namespace": "shop",
            "name": "web",
            "old_replicas": 1,
            "new_replicas": 3,
            "outcome": "success",
            "reason": "",
            "latency_ms": 12.346,
        }

    def test_what_is_not_known_is_null(self) -> None:
        fields = json.loads(to_line(evolve(EVENT, old_replicas=None, new_replicas=10**5000, latency_s=float("nan"))))
        assert (fields["old_replicas"], fields["new_replicas"], fields["latency_ms"]) == (None, None, None)

    def test_time_is_in_utc_whatever_the_zone(self) -> None:
        east = datetime(2026, 7, 1, 14, 0, tzinfo=timezone(timedelta(hours=2)))
        assert json.loads(to_line(evolve(EVENT, time=east)))["time"] == "2026-07-01T12:00:00.000000Z"

    @given(st.lists(st.text() | st.text(st.characters(categories=["Cc", "Cs", "Zl", "Zp"])), min_size=8, max_size=8))
    def test_no_string_breaks_out_of_its_line(self, texts: list[str]) -> None:
        """Any strings make exactly one line of printable ASCII, and parse back but for what is no Unicode."""
        request_id, user, group, fingerprint, peer, namespace, name, reason = texts
        line = to_line(
            evolve(
                EVENT,
                request_id=request_id,
                actor=Identity(user, frozenset({group}), fingerprint, peer),
                namespace=namespace,
                name=name,
                reason=reason,
            )
        )
        assert re.fullmatch(rb"[ -~]+\n", line)
        fields = json.loads(line)
        keys = ("request_id", "actor", "fingerprint", "peer", "namespace", "name", "reason")
        read = [fields[key] for key in keys] + fields["groups"]
        sent = [request_id, user, fingerprint, peer, namespace, name, reason, group]
        assert read == [re.sub("[\ud800-\udfff]", "\ufffd", text) for text in sent]

    def test_length_is_bounded_and_what_is_cut_says_so(self) -> None:
        """However long the strings of an event are, its line fits into what the disk must have free."""
        long = "\U0001f600" * 100_000
        groups = frozenset(f"{number:05}{long[:5000]}" for number in range(MAX_GROUPS + 10))
        actor = Identity(long, groups, long, long)
        line = to_line(AuditEvent(EVENT.time, long, actor, Verb.READ, long, long, Outcome.DENIED, reason=long))
        assert len(line) < audit_log.MIN_FREE_BYTES
        fields = json.loads(line)
        assert fields["actor"] == long[:MAX_FIELD_LENGTH] + f"...[{100_000 - MAX_FIELD_LENGTH} more]"
        assert fields["groups"][-1] == "...[10 more]"
        assert len(fields["groups"]) == MAX_GROUPS + 1


class TestFiles:
    def test_appends(self, file: Path, sink: JsonLinesAuditSink) -> None:
        file.write_bytes(to_line(named("before")))
        sink.record(named("a"))
        sink.record(named("b"))
        assert names(file) == ["before", "a", "b"]

    def test_a_new_file_is_for_its_owner_alone(self, file: Path, sink: JsonLinesAuditSink) -> None:
        mask = os.umask(0)
        try:
            sink.record(EVENT)
        finally:
            os.umask(mask)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600

    def test_follows_a_rotation(self, file: Path, sink: JsonLinesAuditSink) -> None:
        """After the file was renamed, the next event goes to a new one of the old name."""
        sink.record(named("a"))
        rotated = file.rename(file.with_suffix(".1"))
        sink.record(named("b"))
        assert (names(rotated), names(file)) == (["a"], ["b"])

    def test_follows_a_rotation_that_made_the_new_file_itself(self, file: Path, sink: JsonLinesAuditSink) -> None:
        sink.record(named("a"))
        file.rename(file.with_suffix(".1"))
        file.touch()
        sink.record(named("b"))
        assert names(file) == ["b"]

    def test_is_made_anew_after_a_deletion(self, file: Path, sink: JsonLinesAuditSink) -> None:
        sink.record(named("a"))
        file.unlink()
        sink.check()
        sink.record(named("b"))
        assert names(file) == ["b"]

    def test_durable_is_written_as_well(self, file: Path) -> None:
        with JsonLinesAuditSink(str(file), durable=True) as sink:
            sink.record(named("a"))
        assert names(file) == ["a"]

    def test_opens_again_after_close(self, file: Path, sink: JsonLinesAuditSink) -> None:
        sink.record(named("a"))
        sink.close()
        sink.record(named("b"))
        assert names(file) == ["a", "b"]

    def test_leaves_no_descriptor_open(self, file: Path) -> None:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with JsonLinesAuditSink(str(file), durable=True, wait_s=10) as sink:
            for _ in range(5):
                sink.record(EVENT)
                file.unlink()
        assert len(list(Path("/proc/self/fd").iterdir())) == before

    def test_a_line_that_another_left_unfinished_does_not_swallow_the_next(
        self, file: Path, sink: JsonLinesAuditSink
    ) -> None:
        file.write_bytes(b'{"time":"20')
        sink.record(named("a"))
        torn, whole = file.read_bytes().splitlines()
        assert torn == b'{"time":"20'
        assert json.loads(whole)["name"] == "a"

    def test_a_line_cut_by_a_full_disk_does_not_swallow_the_next(self, file: Path, sink: JsonLinesAuditSink) -> None:
        """A line of which only a part could be written is reported as lost, and the next stands on its own."""
        sink.record(named("a"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + 20, hard))
            with pytest.raises(AuditUnavailable, match="File too large"):
                sink.record(named("b"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        sink.record(named("c"))
        first, torn, third = file.read_bytes().splitlines()
        assert (json.loads(first)["name"], json.loads(third)["name"]) == ("a", "c")
        assert len(torn) == 20

    def test_threads_do_not_mix_their_lines(self, file: Path, sink: JsonLinesAuditSink) -> None:
        threads = [threading.Thread(target=record_many, args=(sink, f"{i}", 50)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(names(file)) == sorted(str(i) for i in range(4) for _ in range(50))


class TestUnavailable:
    @pytest.fixture
    def lost(self) -> Losses:
        return Losses()

    @pytest.mark.parametrize(
        ("path", "problem"), [("missing/audit.jsonl", "No such file or directory"), (".", "Is a directory")]
    )
    def test_a_required_trail_that_cannot_be_opened(
        self, tmp_path: Path, lost: Losses, path: str, problem: str
    ) -> None:
        """Both the check before a write and the record after it say where the trail should be, and what is wrong."""
        with JsonLinesAuditSink(str(tmp_path / path), instrument=lost) as sink:
            expected = re.escape(f"the audit trail on {tmp_path / path} cannot be written: {problem}")
            with pytest.raises(AuditUnavailable, match=expected):
                sink.check()
            assert lost.lost == 0
            with pytest.raises(AuditUnavailable, match=expected):
                sink.record(EVENT)
            assert lost.lost == 1

    def test_a_full_disk_is_noticed_before_the_write(
        self, sink: JsonLinesAuditSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sink.check()
        monkeypatch.setattr(audit_log, "MIN_FREE_BYTES", 2**80)
        with pytest.raises(AuditUnavailable, match="No space left on device"):
            sink.check()

    async def test_a_full_disk_is_said_once_and_noticed_without_a_write(
        self, sink: JsonLinesAuditSink, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """However often it is tried, and although a short line still finds room; so is its end."""
        sink.check()
        async with asyncio.timeout(30), sink.examined(0.001):
            monkeypatch.setattr(audit_log, "MIN_FREE_BYTES", 2**80)
            while not sink.problem:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.001)
            for _ in range(3):
                with pytest.raises(AuditUnavailable):
                    sink.check()
                sink.record(EVENT)
            assert sink.problem == "No space left on device"
            monkeypatch.undo()
            while sink.problem:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        assert caplog.messages == ["the audit trail cannot be written", "the audit trail can be written again"]

    def test_a_full_device(self, lost: Losses) -> None:
        with (
            JsonLinesAuditSink("/dev/full", instrument=lost) as sink,
            pytest.raises(AuditUnavailable, match="No space left on device"),
        ):
            sink.record(EVENT)
        assert lost.lost == 1

    def test_an_optional_trail_is_kept_in_the_log_instead(
        self, tmp_path: Path, lost: Losses, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where the trail is not required nothing is refused: what could not be recorded is logged and counted."""
        with JsonLinesAuditSink(str(tmp_path / "no" / "file"), required=False, instrument=lost) as sink:
            sink.check()
            with caplog.at_level(logging.ERROR):
                sink.record(EVENT)
        assert lost.lost == 1
        where = f"the audit trail on {tmp_path / 'no' / 'file'} cannot be written: No such file or directory"
        assert caplog.messages == [f"an audit event was lost: {where}: " + to_line(EVENT).decode().rstrip()]

    def test_it_heals_by_itself(self, tmp_path: Path) -> None:
        with JsonLinesAuditSink(str(tmp_path / "later" / "audit.jsonl")) as sink:
            with pytest.raises(AuditUnavailable):
                sink.check()
            (tmp_path / "later").mkdir()
            sink.check()
            sink.record(named("a"))
        assert names(tmp_path / "later" / "audit.jsonl") == ["a"]

    def test_a_fifo_without_a_reader_stops_nothing(self, tmp_path: Path) -> None:
        """It is refused at once, instead of waiting for a reader that may never come."""
        os.mkfifo(tmp_path / "fifo")
        with JsonLinesAuditSink(str(tmp_path / "fifo")) as sink, pytest.raises(AuditUnavailable):
            sink.check()

    def test_a_fifo_whose_reader_left_or_sleeps(self, tmp_path: Path) -> None:
        path = tmp_path / "fifo"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with JsonLinesAuditSink(str(path)) as sink:
            sink.record(named("a"))
            assert json.loads(os.read(reader, 10_000))["name"] == "a"
            with pytest.raises(AuditUnavailable):
                record_many(sink, "x", 10_000)
            with pytest.raises(AuditUnavailable, match="its reader or disk does not keep up"):
                sink.check()
            os.close(reader)
            with pytest.raises(AuditUnavailable, match="Broken pipe"):
                sink.check()


def test_standard_output_that_is_a_file_on_a_full_disk_refuses_writes_beforehand(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_log, "MIN_FREE_BYTES", 2**70)
    with JsonLinesAuditSink("-") as sink, pytest.raises(AuditUnavailable, match="No space left on device"):
        sink.check()
    assert capfd.readouterr().out == ""


def test_standard_output_gets_whole_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with JsonLinesAuditSink("-") as sink:
        sink.check()
        sink.record(named("a"))
        sink.record(named("b"))
    assert [json.loads(line)["name"] for line in capfd.readouterr().out.splitlines()] == ["a", "b"]


@contextmanager
def standard_output_is_a_pipe() -> Iterator[tuple[int, int]]:
    """Yield the pipe's reading end, and how many bytes it holds. Not a fixture: pytest redirects between the phases."""
    reader, writer = os.pipe()
    saved = os.dup(1)
    os.dup2(writer, 1)
    try:
        yield reader, fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    finally:
        os.dup2(saved, 1)
        for fd in (reader, writer, saved):
            os.close(fd)


class TestStandardOutput:
    """A trail on a pipe whose reader stands still: the rule of the trail is kept, and kdm goes on."""

    LONG = evolve(EVENT, actor=Identity("m" * MAX_FIELD_LENGTH), reason="r" * MAX_FIELD_LENGTH)

    def test_a_line_longer_than_what_pollout_promises_does_not_hang(self) -> None:
        """POLLOUT says that PIPE_BUF bytes have room. A longer line is lost and counted, and the next ones at once."""
        with standard_output_is_a_pipe() as (reader, capacity):
            os.write(1, b"x" * (capacity - select.PIPE_BUF - 1) + b"\n")
            assert len(to_line(self.LONG)) > select.PIPE_BUF
            lost = Losses()
            with JsonLinesAuditSink("-", instrument=lost) as sink:
                sink.check()
                with pytest.raises(
                    AuditUnavailable, match="standard output cannot be written: its reader or disk does"
                ):
                    sink.record(self.LONG)
                for _ in range(1000):
                    with pytest.raises(AuditUnavailable):
                        sink.check()
                    with pytest.raises(AuditUnavailable):
                        sink.record(self.LONG)
                assert lost.lost == 1001
                assert sink.problem == "its reader or disk does not keep up"
                begun = os.read(reader, capacity)
                while not begun.endswith(to_line(self.LONG)):  # it had been begun, so it is finished
                    begun += os.read(reader, capacity)
                until_recorded(sink, named("after"))
                assert json.loads(os.read(reader, capacity))["name"] == "after"
                assert sink.problem == ""

    def test_a_line_for_which_there_is_no_room_at_all_never_comes_late(self) -> None:
        """What was reported as lost, and went to the log, is not in the trail as well."""
        with standard_output_is_a_pipe() as (reader, capacity):
            os.write(1, b"x" * (capacity - 1) + b"\n")
            with JsonLinesAuditSink("-") as sink:
                with pytest.raises(AuditUnavailable, match="its reader or disk does not keep up"):
                    sink.record(named("lost"))
                assert set(os.read(reader, capacity)) == set(b"x\n")
                until_recorded(sink, named("after"))
                assert json.loads(os.read(reader, capacity))["name"] == "after"

    def test_closing_does_not_wait_for_the_reader(self) -> None:
        with standard_output_is_a_pipe() as (reader, capacity):
            os.write(1, b"x" * (capacity - select.PIPE_BUF - 1) + b"\n")
            sink = JsonLinesAuditSink("-")
            with pytest.raises(AuditUnavailable):
                sink.record(self.LONG)
            sink.close()
            os.read(reader, capacity)


def until_recorded(sink: JsonLinesAuditSink, event: AuditEvent) -> None:
    """Record an event as soon as what held up the trail is over."""
    for _ in range(10_000):
        try:
            return sink.record(event)
        except AuditUnavailable:
            threading.Event().wait(0.001)  # its thread is about to notice
    pytest.fail("the trail does not heal")
