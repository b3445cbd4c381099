"""The audit trail as JSON lines, in a file or on standard output."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kdm_adapters.lines import WholeLines
from kdm_adapters.side_thread import SideThread
from kdm_core import AuditEvent, AuditSink, AuditUnavailable, ServiceInstrument
from kdm_core.trail import to_line

STDOUT: Final = "-"
"""As a path: standard output."""

MIN_FREE_BYTES: Final = 1024 * 1024
"""With less than this free on the disk, in bytes, it counts as full: the longest possible line takes 400 KB."""

WAIT_S: Final = 0.1
"""How long a line waits for the disk or the reader of a pipe, in seconds: meanwhile nobody is served."""

END_WAIT_S: Final = 0.5
"""How long closing waits for a line under way, in seconds."""

EXAMINE_S: Final = 5.0
"""How often the trail is looked at while nobody writes, in seconds."""

_STALLED: Final = "its reader or disk does not keep up"

_log = logging.getLogger(__name__)


class JsonLinesAuditSink(AuditSink):
    """Writes one line of JSON for each event, each with a single write.

    A line has the keys ``time`` (RFC 3339, UTC), ``request_id``, ``actor``, ``groups``, ``fingerprint``, ``peer``,
    ``action``, ``namespace``, ``name``, ``old_replicas``, ``new_replicas``, ``outcome``, ``reason`` and
    ``latency_ms``; and ``dry_run``, which is true, where nothing was to be stored.
    It is pure ASCII without control characters, whatever the strings of an event hold, so that nothing a caller
    sends can begin another line. Overlong strings are cut and say so; what is no Unicode becomes U+FFFD.

    A file is appended to, made with mode 0600 if it is not there, and opened again when it was renamed or deleted, so
    log rotation needs no signal. Rotation by copying and truncating works as well, but can lose lines.

    May be used from any thread. The file is touched on a thread of its own only, so that a reader or a disk that
    stands still holds up nobody for longer than ``wait_s``, and nobody at all until it moves again. What is not written
    by then is lost, but for a line that had been begun: it is finished when it can be, so that no two lines mix.

    Args:
        path: The file, or "-" for standard output. It is opened at the first ``check`` or ``record``.
        required: Whether what cannot be recorded must not be done. If not, lost events go to the log instead.
        durable: Whether an event must have reached the disk (fsync), not just the operating system, to be recorded.
        instrument: Counts lost events.
        wait_s: How long a call may wait, in seconds. ``durable`` may need more, as much as the disk takes to sync.

    Attributes:
        problem: Why the trail could not be written when that was last tried; "" when it could.
    """

    def __init__(
        self,
        path: str,
        *,
        required: bool = True,
        durable: bool = False,
        instrument: ServiceInstrument | None = None,
        wait_s: float = WAIT_S,
    ) -> None:
        self.problem = ""
        self._was_writable = False
        self._to_stdout = path == STDOUT
        self._path = Path(path)
        self._where = "standard output" if self._to_stdout else str(path)
        self._required = required
        self._durable = durable
        self._instrument = instrument or ServiceInstrument()
        self._wait_s = wait_s
        self._thread = SideThread("kdm-audit", _STALLED)
        self._lines = WholeLines()
        self._fd: int | None = None
        self._file_id: tuple[int, int] | None = None
        self._regular = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. A later ``record`` opens it again."""
        if self._fd is not None:
            self._thread.do(self._close)
        self._thread.close(END_WAIT_S)

    def check(self) -> None:
        """Make sure that an event could be recorded now: the file can be opened, the disk has room, the pipe a reader.

        Raises:
            AuditUnavailable: It could not, and the sink is required.
        """
        if self._required:
            self._attempt(self._examine)

    def record(self, event: AuditEvent) -> None:
        """Record one event.

        Raises:
            AuditUnavailable: It could not be recorded, and the sink is required.
        """
        line = to_line(event)
        try:
            self._attempt(lambda: self._write(line))
        except AuditUnavailable as error:
            self._instrument.audit_lost()
            if self._required:
                raise
            _log.error("an audit event was lost: %s: %s", error, line.decode().rstrip())

    @asynccontextmanager
    async def examined(self, interval_s: float = EXAMINE_S) -> AsyncIterator[None]:
        """Look at the trail now and then, as long as the context lasts, so that ``problem`` is true without a write.

        Args:
            interval_s: How often, in seconds.
        """
        task = asyncio.create_task(self._keep_examining(interval_s), name="kdm-audit")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _keep_examining(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            with suppress(AuditUnavailable):  # it is noted
                await asyncio.to_thread(self._attempt, self._examine)

    def _attempt(self, job: Callable[[], None]) -> None:
        """Have something done with the trail, and note how that went."""
        try:
            self._thread.call(job, self._wait_s)
            if self.problem and job != self._examine:  # a short line may fit where the next would not
                with suppress(OSError):
                    self._thread.call(self._examine, self._wait_s)
                    self._healed()
                return
        except OSError as error:
            reason = error.strerror or str(error)
            noted, self.problem = self.problem, reason
            if reason != noted and self._was_writable:  # otherwise the caller is the first to learn it
                _log.error("the audit trail cannot be written", extra={"trail": self._where, "reason": reason})
            raise AuditUnavailable(f"the audit trail on {self._where} cannot be written: {reason}") from error
        self._healed()

    def _healed(self) -> None:
        problem, self.problem = self.problem, ""
        if problem and self._was_writable:
            _log.warning("the audit trail can be written again", extra={"trail": self._where})
        self._was_writable = True

    def _examine(self) -> None:
        fd = self._open()
        if self._regular:
            _check_room(fd)
        else:
            _check_reader(fd, 0)

    def _write(self, line: bytes) -> None:
        fd = self._open()
        if not self._regular:
            # A full pipe: better no line than one that is reported as lost and comes later. Room is for PIPE_BUF bytes,
            # no more (poll(2), pipe(7)), so writing a longer line may wait all the same.
            _check_reader(fd, 0 if self.problem else self._wait_s * 0.9)
        self._lines.write(fd, line)
        if self._durable and self._regular:
            os.fsync(fd)

    def _open(self) -> int:
        """Return the descriptor to write to, of the file that has the path's name now."""
        if self._to_stdout:
            self._regular = stat.S_ISREG(os.fstat(1).st_mode)
            return 1
        if self._fd is not None:
            try:
                if _identity(self._path.stat()) == self._file_id:
                    return self._fd
            except FileNotFoundError:
                pass
            self._close()
        # O_NONBLOCK: a FIFO without a reader must not stop the world; a file does not mind.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            fd = os.open(self._path, flags)
        except FileNotFoundError:
            fd = os.open(self._path, flags | os.O_CREAT, 0o600)
            if self._durable:
                _sync(self._path.parent)
        status = os.fstat(fd)
        self._fd, self._file_id, self._regular = fd, _identity(status), stat.S_ISREG(status.st_mode)
        self._lines.torn = self._regular and status.st_size > 0 and _is_torn(self._path)
        return fd

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_torn(path: Path) -> bool:
    """Return whether a file does not end with a whole line: a process died, or ran out of disk, while writing it."""
    try:
        with path.open("rb", buffering=0) as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:  # a file that may be written but not read is none the worse for it
        return False


def _sync(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _check_room(fd: int) -> None:
    """Raise OSError if the file's disk is full or read-only."""
    disk = os.fstatvfs(fd)
    if disk.f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
    if disk.f_blocks and disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _check_reader(fd: int, wait_s: float) -> None:
    """Raise OSError if nobody reads from the pipe, or it has been full for so many seconds."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    events = poll.poll(wait_s * 1000)
    if not events:
        raise BlockingIOError(errno.EAGAIN, _STALLED)
    if events[0][1] & (select.POLLERR | select.POLLNVAL):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
