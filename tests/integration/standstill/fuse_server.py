"""A file system in memory that can hang: stop this process (SIGSTOP), and whoever touches a file waits. Needs root.

``python fuse_server.py MOUNTPOINT [FILE=SOURCE ...]`` serves those files, and any that are made there, until it is
ended. It speaks as much of FUSE's protocol 7.31 (linux/fuse.h) as reading and appending take, and keeps nothing in the
kernel's caches.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from pathlib import Path
from typing import Final

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
INIT, ACCESS, CREATE, INTERRUPT, BATCH_FORGET = 26, 34, 35, 36, 42
IN_HEADER: Final = struct.Struct("<IIQQIIIHH")
OUT_HEADER: Final = struct.Struct("<IiQ")
BUFFER_BYTES: Final = 1024 * 1024
ROOT: Final = 1
DIRECT_IO: Final = 1
NO_REPLY: Final = {FORGET, INTERRUPT, BATCH_FORGET}


class Files:
    """The files, by the number of their node: 2 and up."""

    def __init__(self, sources: dict[str, Path]) -> None:
        self.names = {name: number for number, name in enumerate(sources, ROOT + 1)}
        self.contents = {self.names[name]: bytearray(source.read_bytes()) for name, source in sources.items()}

    def answer(self, opcode: int, node: int, body: bytes) -> bytes:  # noqa: C901, PLR0911 - a case for each request
        """Return what answers a request.

        Raises:
            OSError: With the number to answer instead.
        """
        if opcode == INIT:
            return struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 16, 12, 65536, 1, 0, 0, 0)
        if opcode == LOOKUP:
            number = self.names.get(body.rstrip(b"\0").decode())
            if number is None:
                raise FileNotFoundError(errno.ENOENT, "")
            return self._entry(number)
        if opcode == CREATE:
            number = len(self.names) + ROOT + 1
            self.names[body[16:].rstrip(b"\0").decode()] = number
            self.contents[number] = bytearray()
            return self._entry(number) + struct.pack("<QII", 0, DIRECT_IO, 0)
        if opcode in {GETATTR, SETATTR}:
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if opcode == OPEN:
            return struct.pack("<QII", 0, DIRECT_IO, 0)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return bytes(self.contents[node][offset : offset + size])
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            self.contents[node][offset : offset + size] = body[40 : 40 + size]
            return struct.pack("<II", size, 0)
        if opcode == STATFS:
            return struct.pack("<5Q4I24x", 10**6, 10**6, 10**6, 10**6, 10**6, 4096, 255, 4096, 0)
        if opcode in {RELEASE, FSYNC, ACCESS}:
            return b""
        raise OSError(errno.ENOSYS, "")

    def _entry(self, number: int) -> bytes:
        return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + self._attributes(number)

    def _attributes(self, number: int) -> bytes:
        size = len(self.contents.get(number, b""))
        mode = stat.S_IFDIR | 0o755 if number == ROOT else stat.S_IFREG | 0o644
        return struct.pack("<6Q10I", number, size, size // 512 + 1, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


def main(mountpoint: str, *sources: str) -> None:
    """Mount, say so, and serve."""
    files = Files({name: Path(path) for name, _, path in (each.partition("=") for each in sources)})
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40755,user_id=0,group_id=0,allow_other".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"kdm-test", mountpoint.encode(), b"fuse", 0, options):
        sys.exit(f"cannot mount: {os.strerror(ctypes.get_errno())}")
    print("mounted", flush=True)
    while True:
        try:
            request = os.read(device, BUFFER_BYTES)
        except OSError as error:
            if error.errno in {errno.EINTR, errno.ENOENT}:
                continue
            return  # unmounted
        _, opcode, unique, node, *_ = IN_HEADER.unpack_from(request)
        if opcode in NO_REPLY:
            continue
        try:
            code, answer = 0, files.answer(opcode, node, request[IN_HEADER.size :])
        except OSError as error:
            code, answer = -(error.errno or errno.EIO), b""
        os.write(device, OUT_HEADER.pack(OUT_HEADER.size + len(answer), code, unique) + answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
