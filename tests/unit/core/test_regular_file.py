"""Reading the files that kdm is configured with: what is no regular file, or too large, is refused at once."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from kdm_core import regular_file


def test_content_and_digest_are_of_one_read(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    (tmp_path / "link").symlink_to(path)
    content = regular_file.read(tmp_path / "link")
    assert content == (b"content", hashlib.sha256(b"content").hexdigest())


def test_a_fifo_without_a_writer_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="Not a regular file"):
        regular_file.read(tmp_path / "fifo")


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_a_device_is_refused(device: str) -> None:
    with pytest.raises(OSError, match=r"Not a regular file|No such device"):
        regular_file.read(Path(device))


def test_a_socket_and_a_directory_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(OSError, match="No such device"):
            regular_file.read(tmp_path / "socket")
    with pytest.raises(IsADirectoryError, match="Is a directory"):
        regular_file.read(tmp_path)


def test_a_file_larger_than_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert regular_file.read(path, 5).data == b"12345"
    with pytest.raises(OSError, match="Larger than 4 bytes"):
        regular_file.read(path, 4)
    with path.open("r+b") as sparse:
        sparse.truncate(2**40)
    with pytest.raises(OSError, match="Larger than 4194304 bytes"):
        regular_file.read(path)
