"""What kdm uses of the official client, ``kubernetes.aio``: its way to find a Pod's service account.

Importing any part of it executes the ``__init__`` of every package above, and these import its whole API, some 340
modules: 20 MB and half a second of CPU that an idle kdm would carry for nothing. So here the packages are entered
without executing them, and what was found is put away again: anything else that imports ``kubernetes`` in this
process gets the real one. Where the official client is loaded already, it is used as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Final

__all__ = [
    "SERVICE_CERT_FILENAME",
    "SERVICE_HOST_ENV_NAME",
    "SERVICE_PORT_ENV_NAME",
    "SERVICE_TOKEN_FILENAME",
    "ConfigException",
    "InClusterConfigLoader",
    "own_namespace",
]

_ROOT: Final = "kubernetes"
_CLIENT: Final = "kubernetes.aio.client"
_UNEXECUTED: Final = frozenset({_ROOT, "kubernetes.aio", _CLIENT, "kubernetes.aio.config"})


class _Empty(Loader):
    """Leaves a package empty: only its modules can be imported."""

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == _CLIENT:
            vars(module)["Configuration"] = None  # the loader imports it for a default that nobody here asks for


class _EmptyPackages(MetaPathFinder):
    """Finds the packages that are not to be executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = PathFinder.find_spec(fullname, path, target) if fullname in _UNEXECUTED else None
        if found is not None:
            found.loader = _Empty()
        return found


@contextmanager
def _unexecuted_packages() -> Iterator[None]:
    if _ROOT in sys.modules:
        yield
        return
    finder = _EmptyPackages()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [each for each in sys.modules if each == _ROOT or each.startswith(f"{_ROOT}.")]:
            del sys.modules[name]


with _unexecuted_packages():
    from kubernetes.aio.config.config_exception import ConfigException
    from kubernetes.aio.config.incluster_config import (
        SERVICE_CERT_FILENAME,
        SERVICE_HOST_ENV_NAME,
        SERVICE_PORT_ENV_NAME,
        SERVICE_TOKEN_FILENAME,
        InClusterConfigLoader,
    )

_NAMESPACE_FILE: Final = Path(SERVICE_TOKEN_FILENAME).with_name("namespace")


def own_namespace() -> str | None:
    """Return the namespace of the Pod that this process runs in; None where it runs in none."""
    with suppress(OSError):
        return _NAMESPACE_FILE.read_text("utf-8").strip() or None
    return None
