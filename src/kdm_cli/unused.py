"""What libraries load and kdm does not use: `kdm serve` starts and rests without it.

Litestar loads all that describes an API in OpenAPI (kdm writes its description itself), uvicorn its own command,
prometheus_client three more web servers, aiohttp the system's CAs twice. Together that is a quarter of the CPU of a
start and 6 MB for as long as kdm runs. None of these libraries has a switch for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

PACKAGES: Final = ("pydantic", "pydantic_settings", "rich")
"""What Litestar, dependency_injector and structlog would load where it is installed: 17 MB and a quarter of the CPU of
the start. See :func:`hidden`."""

MODULES: Final = (
    "cryptography.hazmat.primitives.serialization.ssh",
    "dependency_injector.wiring",
    "http.server",
    "litestar._openapi",
    "litestar.openapi",
    "pdb",
    "uvicorn.main",
    "wsgiref.simple_server",
)
"""What libraries import whether or not it is used; see :func:`hollow`."""

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


class _Nothing(type):
    """The type of whatever is imported from a hollow module: a class to derive from and to make, with nothing in it."""

    def __call__(cls, *_args: object, **_kwargs: object) -> Any:
        return super().__call__()

    def __getattr__(cls, name: str) -> Any:
        return _nothing(name)

    def __iter__(cls) -> Iterator[Any]:
        return iter(())


def _nothing(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    return _Nothing(name, (), {})


class _Hollow(Loader):
    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__getattr__"] = _nothing


class _HollowModules(MetaPathFinder):
    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        if any(fullname == name or fullname.startswith(f"{name}.") for name in self._names):
            return ModuleSpec(fullname, _Hollow(), is_package=True)
        return None


@contextmanager
def hollow(*names: str) -> Iterator[None]:
    """Let whoever imports modules, or modules below them, get empty classes of any name instead.

    Afterwards these modules can be imported as they are. What was imported meanwhile keeps the empty classes.

    Args:
        names: Their names. One that is loaded already stays as it is.
    """
    finder = _HollowModules([name for name in names if name not in sys.modules])
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [each for each in sys.modules if finder.find_spec(each, None)]:
            del sys.modules[name]


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
