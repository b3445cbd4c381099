"""A file for as long as it takes OpenSSL to read it: Python hands some things to OpenSSL by path alone."""

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

    Where the system has them it is in memory alone, so that it serves a read-only container.

    Raises:
        OSError: There is no place for it.
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
