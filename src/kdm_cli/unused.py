"""What libraries load and kdm does not use: `kdm serve` starts and rests without it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

PACKAGES: Final = ("pydantic", "pydantic_settings", "rich")
"""What Litestar, dependency_injector and structlog would load where it is installed: 17 MB and a quarter of the CPU of
the start. See :func:`hidden`."""

_SYSTEM_CAS: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""What OpenSSL takes instead of the system's CAs: SSL_CTX_set_default_verify_paths(3)."""


class _Absent:
    """Finds that packages are not installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        self._packages = packages

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:  # noqa: ARG002 - the protocol
        if fullname in self._packages:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Keep a library from loading packages that kdm has no use for, as though they were not installed.

    Args:
        packages: Their names. One that is loaded already is still found.
    """
    absent = _Absent(packages)
    sys.meta_path.insert(0, absent)
    try:
        yield
    finally:
        sys.meta_path.remove(absent)


@contextmanager
def no_system_cas() -> Iterator[None]:
    """Let a library make TLS contexts without the system's CAs, for itself, where kdm gives it others."""
    before = {name: os.environ.get(name) for name in _SYSTEM_CAS}
    os.environ.update(dict.fromkeys(_SYSTEM_CAS, os.devnull))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
