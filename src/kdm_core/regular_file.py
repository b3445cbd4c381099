"""Reads the files that kdm is configured with: regular ones alone, up to a limit, content and digest from one read.

A path may lead anywhere. Opening a FIFO waits for a writer, a device may never end, and a network file system may not
answer at all. Where others are served meanwhile, read it on a thread that nobody waits for in the end.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

MAX_BYTES: Final = 4 * 1024 * 1024
"""Longest file, in bytes: Kubernetes' Secrets and ConfigMaps have at most 1 MiB (KEP-1412's and etcd's limit)."""


class Content(NamedTuple):
    """What a file held at one moment."""

    data: bytes
    digest: str
    """SHA-256 of ``data``, in lower-case hex."""


def read(path: Path, limit: int = MAX_BYTES) -> Content:
    """Read a whole file. Never waits for a writer of a FIFO; may wait for a disk or a network file system.

    Args:
        path: The file, or a symbolic link to it.
        limit: Its greatest size, in bytes.

    Raises:
        OSError: It cannot be read, is no regular file, or is larger; ``strerror`` says which.
    """
    # O_NONBLOCK: opening a FIFO would wait for its writer; a regular file does not mind.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with os.fdopen(fd, "rb", buffering=0) as file:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "Not a regular file", str(path))
        data = bytearray()
        while len(data) <= limit and (piece := file.read(limit + 1 - len(data))):
            data += piece
    if len(data) > limit:
        raise OSError(errno.EFBIG, f"Larger than {limit} bytes", str(path))
    return Content(bytes(data), hashlib.sha256(data).hexdigest())
