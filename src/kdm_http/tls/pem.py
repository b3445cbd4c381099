"""PEM files (RFC 7468), read so that there is no doubt about what is in them.

OpenSSL skips a block whose first line it does not recognise, and other readers do not: an indented block, two blocks
on one line, a file that begins with a byte order mark. What one reader would skip is an error here, with its line.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from attrs import frozen

_MARKER: Final = re.compile(rb"-----(BEGIN|END) ([A-Z0-9][A-Z0-9 ]*)-----")
_MARK: Final = re.compile(rb"-----(?:BEGIN|END)")
_BYTE_ORDER_MARKS: Final = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")


class PemError(ValueError):
    """A file that is not clean PEM; the message says why, on one line, and names the line."""


@frozen
class Block:
    """What is between two markers.

    Attributes:
        label: What it says it is, such as ``CERTIFICATE``.
        line: The line of its first marker, from 1.
        body: The lines between the markers.
    """

    label: str
    line: int
    body: bytes

    def decode(self) -> bytes:
        """Return the bytes it stands for.

        Raises:
            PemError: It is not base64.
        """
        try:
            return base64.b64decode(b"".join(self.body.split()), validate=True)
        except binascii.Error as exc:
            raise PemError(f"line {self.line}: the block of this {self.label} is not base64: {exc}") from exc


def read_blocks(content: bytes) -> list[Block]:
    """Return the blocks of a file. Text around them is allowed.

    Raises:
        PemError: A marker is not alone on its line, has no partner, or the file is not text at all.
    """
    if content.startswith(b"\x30") and not _MARK.search(content):
        raise PemError("it is DER, not PEM: convert it, as 'openssl x509 -inform der' does for a certificate")
    if content.startswith(_BYTE_ORDER_MARKS):
        raise PemError("line 1: it begins with a byte order mark: save it without")
    blocks: list[Block] = []
    begun: tuple[str, int] | None = None
    body: list[bytes] = []
    for number, line in enumerate(content.splitlines(), 1):
        marker = _MARKER.fullmatch(line.rstrip())
        if marker is None:
            if _MARK.search(line):
                raise PemError(f"line {number}: {_flaw(line)}")
            body.append(line)
            continue
        label = marker[2].decode()
        if marker[1] == b"BEGIN":
            if begun is not None:
                raise PemError(f"line {number}: the {begun[0]} begun in line {begun[1]} has no end")
            begun = (label, number)
        elif begun is None or begun[0] != label:
            raise PemError(f"line {number}: the end of a {label} that was not begun")
        else:
            blocks.append(Block(label, begun[1], b"\n".join(body)))
            begun = None
        body = []
    if begun is not None:
        raise PemError(f"line {begun[1]}: the {begun[0]} has no end")
    return blocks


def _flaw(line: bytes) -> str:
    if len(_MARK.findall(line)) > 1:
        return "two markers on one line: put a line break between the blocks"
    if _MARKER.fullmatch(line.strip()):
        return "the marker is indented: it has to be at the beginning of its line"
    return "the marker is not alone on its line, or misspelt"


def write_blocks(label: str, ders: list[bytes]) -> bytes:
    """Return a file of blocks of one label."""
    begin, end = f"-----BEGIN {label}-----\n".encode(), f"-----END {label}-----\n".encode()
    return b"".join(begin + base64.encodebytes(der) + end for der in ders)
