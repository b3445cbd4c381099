"""The audit trail as JSON lines, in a file or on standard output."""

from __future__ import annotations

import errno
import json
import logging
import math
import os
import re
import select
import stat
import threading
from datetime import UTC
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kdm_core import AuditEvent, AuditSink, AuditUnavailable, Instrument

STDOUT: Final = "-"
"""As a path: standard output."""

MAX_FIELD_LENGTH: Final = 2048
"""Longest string recorded whole, in characters: a SPIFFE ID has at most 2048 bytes (SPIFFE-ID, section 2.3)."""

MAX_GROUPS: Final = 64
"""How many of an actor's groups are recorded."""

MAX_GROUP_LENGTH: Final = 256
"""Longest group recorded whole, in characters: an organization has at most 64 (RFC 5280, appendix A.1)."""

MIN_FREE_BYTES: Final = 1024 * 1024
"""With less than this free on the disk, in bytes, it counts as full: the longest possible line takes 400 KB."""

FULL_PIPE_WAIT_MS: Final = 100
"""How long a line waits for the reader of a full pipe, in milliseconds: meanwhile nobody is served."""

MAX_INTEGER: Final = 2**63 - 1
"""Larger numbers are recorded as null: a reader's JSON may not have them, and whoever sent one was refused."""

_log = logging.getLogger(__name__)
_LONE_SURROGATES: Final = re.compile("[\ud800-\udfff]")


class JsonLinesAuditSink(AuditSink):
    """Writes one line of JSON for each event, each with a single write.

    A line has the keys ``time`` (RFC 3339, UTC), ``request_id``, ``actor``, ``groups``, ``fingerprint``, ``peer``,
    ``action``, ``namespace``, ``name``, ``old_replicas``, ``new_replicas``, ``outcome``, ``reason`` and ``latency_ms``.
    It is pure ASCII without control characters, whatever the strings of an event hold, so that nothing a caller
    sends can begin another line. Overlong strings are cut and say so; what is no Unicode becomes U+FFFD.

    A file is appended to, made with mode 0600 if it is not there, and opened anew when it was renamed or deleted, so
    log rotation needs no signal. Rotation by copying and truncating works as well, but can lose lines.

    May be used from any thread. Writing blocks: for a moment, or for as long as the disk takes if ``durable``.

    Args:
        path: The file, or "-" for standard output. It is opened at the first ``check`` or ``record``.
        required: Whether what cannot be recorded must not be done. If not, lost events go to the log instead.
        durable: Whether an event must have reached the disk (fsync), not just the operating system, to be recorded.
        instrument: Told of lost events.
    """

    def __init__(
        self, path: str, *, required: bool = True, durable: bool = False, instrument: Instrument | None = None
    ) -> None:
        self._to_stdout = path == STDOUT
        self._path = Path(path)
        self._required = required
        self._durable = durable
        self._instrument = instrument or Instrument()
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._file_id: tuple[int, int] | None = None
        self._regular = False
        self._torn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None, /
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. A later ``record`` opens it again."""
        with self._lock:
            self._close()

    def check(self) -> None:
        """Make sure that an event could be recorded now: the file can be opened, the disk has room, the pipe a reader.

        Raises:
            AuditUnavailable: It could not, and the sink is required.
        """
        if not self._required:
            return
        try:
            with self._lock:
                fd = self._open()
                if self._regular:
                    _check_room(fd)
                else:
                    _check_reader(fd, wait_ms=0)
        except OSError as error:
            raise self._unavailable(error) from error

    def record(self, event: AuditEvent) -> None:
        """Record one event.

        Raises:
            AuditUnavailable: It could not be recorded, and the sink is required.
        """
        line = to_line(event)
        try:
            with self._lock:
                self._write(line)
        except OSError as error:
            self._instrument.audit_lost()
            if self._required:
                raise self._unavailable(error) from error
            _log.error("an audit event was lost: %s: %s", error.strerror, line.decode().rstrip())

    def _unavailable(self, error: OSError) -> AuditUnavailable:
        where = "standard output" if self._to_stdout else self._path
        return AuditUnavailable(f"the audit trail on {where} cannot be written: {error.strerror}")

    def _write(self, line: bytes) -> None:
        fd = self._open()
        if not self._regular:
            _check_reader(fd, wait_ms=FULL_PIPE_WAIT_MS)
        rest = memoryview(b"\n" + line if self._torn else line)
        while rest:
            rest = rest[os.write(fd, rest) :]  # all at once, but for a disk that fills up in the middle
            self._torn = bool(rest)
        if self._durable and self._regular:
            os.fsync(fd)

    def _open(self) -> int:
        """Return the descriptor to write to, of the file that has the path's name now."""
        if self._to_stdout:
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
        self._torn = self._regular and status.st_size > 0 and _is_torn(self._path)
        return fd

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def to_line(event: AuditEvent) -> bytes:
    """Return an event as one line of JSON, with its newline."""
    groups = [_bounded(group, MAX_GROUP_LENGTH) for group in sorted(event.actor.groups)]
    if len(groups) > MAX_GROUPS:
        groups[MAX_GROUPS:] = [f"...[{len(groups) - MAX_GROUPS} more]"]
    latency_ms = event.latency_s * 1000
    fields = {
        "time": event.time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "request_id": _bounded(event.request_id),
        "actor": _bounded(event.actor.user),
        "groups": groups,
        "fingerprint": _bounded(event.actor.fingerprint),
        "peer": _bounded(event.actor.address),
        "action": event.verb.value,
        "namespace": _bounded(event.namespace),
        "name": _bounded(event.name),
        "old_replicas": _integer(event.old_replicas),
        "new_replicas": _integer(event.new_replicas),
        "outcome": event.outcome.value,
        "reason": _bounded(event.reason),
        "latency_ms": round(latency_ms, 3) if math.isfinite(latency_ms) else None,
    }
    # json escapes what is not ASCII, and all control characters but DEL.
    return json.dumps(fields, separators=(",", ":")).replace("\x7f", "\\u007f").encode("ascii") + b"\n"


def _bounded(value: str, limit: int = MAX_FIELD_LENGTH) -> str:
    """Cut what is too long, and replace what UTF-8 does not have: many a reader of JSON refuses lone surrogates."""
    if len(value) > limit:
        value = f"{value[:limit]}...[{len(value) - limit} more]"
    return value if value.isascii() else _LONE_SURROGATES.sub("\ufffd", value)


def _integer(value: int | None) -> int | None:
    return value if value is None or abs(value) <= MAX_INTEGER else None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _is_torn(path: Path) -> bool:
    """Return whether a file does not end with a whole line, for somebody died or ran out of disk while writing it."""
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


def _check_reader(fd: int, *, wait_ms: int) -> None:
    """Raise OSError if nobody reads from the pipe, or has not kept up for this long."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    events = poll.poll(wait_ms)
    if not events:
        raise BlockingIOError(errno.EAGAIN, "its reader does not keep up")
    if events[0][1] & (select.POLLERR | select.POLLNVAL):
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
