"""What identifies a certificate: its serial number and its fingerprint, as text."""

from __future__ import annotations

import re

from kdm_cli.pki.errors import PkiError


def format_serial(serial: int) -> str:
    """Write a serial number in lower-case hex."""
    return f"{serial:x}"


def parse_serial(text: str) -> int:
    """Read a serial number as ``kdm certs inspect`` or ``openssl x509`` write it.

    Raises:
        PkiError: It is none.
    """
    digits = _hex(text.strip().lower().removeprefix("serial="), "serial number", 40)
    if not int(digits, 16):
        raise PkiError(f"bad serial number {text!r}: it is 0")
    return int(digits, 16)


def parse_fingerprint(text: str) -> str:
    """Read a SHA-256 fingerprint as the audit trail or ``openssl x509 -fingerprint -sha256`` write it.

    Raises:
        PkiError: It is none.
    """
    digits = _hex(text.strip().lower().removeprefix("sha256 fingerprint="), "fingerprint", 64)
    if len(digits) != 64:
        raise PkiError(f"bad fingerprint {text!r}: a SHA-256 one has 64 hex digits")
    return digits


def _hex(text: str, what: str, most: int) -> str:
    digits = text.removeprefix("0x").replace(":", "")
    if not re.fullmatch(rf"[0-9a-f]{{1,{most}}}", digits):
        raise PkiError(f"bad {what} {text!r}: expected at most {most} hex digits, as 'kdm certs inspect' shows them")
    return digits
