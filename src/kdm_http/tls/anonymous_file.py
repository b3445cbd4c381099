"""A file that exists while OpenSSL reads it: Python hands some things to OpenSSL only by path."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_DESCRIPTORS: Final = Path("/proc/self/fd")


@contextlib.contextmanager
def anonymous_file(content: bytes) -> Iterator[str]:
    """Write a file that nobody else can open, and yield its path.

    On Linux it is only in memory, so that this works in a read-only container.

    Raises:
        OSError: It cannot be written.
    """
    if sys.platform == "linux" and _DESCRIPTORS.is_dir():
        with os.fdopen(os.memfd_create("kdm"), "wb") as file:
            file.write(content)
            file.flush()
            yield str(_DESCRIPTORS / str(file.fileno()))
    else:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(content)
            file.flush()
            yield file.name
