"""Makes a layer of kdm's image from a virtual environment: what running needs, compiled, the same every time.

    finish.py ENVIRONMENT LAYER [BELOW]

ENVIRONMENT is stripped and compiled in place and copied to LAYER, except what is in the layer BELOW it.

Bytecode is made here because a read-only container can keep none: each start would compile everything again, for
seconds. It is of PEP 552's unchecked kind, which names no source's time and does not look at the source.
"""

from __future__ import annotations

import os
import py_compile
import shutil
import sys
from importlib.util import cache_from_source
from pathlib import Path
from py_compile import PycInvalidationMode

MODIFIED = 1_580_601_600  # 2020-02-02, as hatchling stamps wheels: one time for all, so that layers differ by content

# Distributions that nothing in kdm's process imports: what Litestar installs for its command line, its test client and
# its data factories, what Rich would colour source code with, and a compiler of C declarations that cffi wants to
# build, not to run. Without rich_click, help is click's own.
UNINSTALLED = (
    "faker",
    "h11",
    "httpcore",
    "httpx",
    "markdown_it",
    "mdurl",
    "polyfactory",
    "pycparser",
    "pygments",
    "rich_click",
)
# Parts of the others, by far the most of what is installed. The image's tests run kdm without.
UNUSED = (
    # The generated clients of every Kubernetes API: kdm speaks to two paths, with msgspec. `__init__` looks them up
    # when they are asked for.
    "kubernetes/aio/client/api/*_api.py",
    "kubernetes/aio/client/models/[!_]*.py",
    "kubernetes/client/api/*_api.py",
    "kubernetes/client/models/[!_]*.py",
    "kubernetes/**/*_test.py",
    # The contract suite, for those who write a repository of their own.
    "kdm_core/testing",
    "*/test",
    "*/tests",
    # Sources and declarations of compiled modules.
    "**/*.[ch]",
    "**/*.cpp",
    "**/*.pxd",
    "**/*.pyi",
    "**/*.pyx",
    # What pip wants to know to uninstall. Names, versions and licenses stay, for those who scan images.
    "*.dist-info/INSTALLER",
    "*.dist-info/RECORD",
    "*.dist-info/REQUESTED",
    "*.dist-info/direct_url.json",
)
# Of the environment itself: for shells and for compiling against it; kdm's is the only command.
UNUSED_HERE = ("include", "share", "bin/[!kp]*", "bin/pip*", "bin/py[!t]*")


def main(environment: Path, layer: Path, below: Path | None) -> None:
    """Make the layer."""
    (packages,) = environment.glob("lib/python3*/site-packages")
    whole = [pattern for name in UNINSTALLED for pattern in (name, f"{name}-*.dist-info")]
    for root, patterns in ((packages, [*whole, *UNUSED]), (environment, UNUSED_HERE)):
        for pattern in patterns:
            for path in list(root.glob(pattern)):
                _delete(path)
    for source in sorted(packages.rglob("*.py")):
        if not Path(cache_from_source(source)).exists():
            py_compile.compile(str(source), doraise=True, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH)

    place = layer / environment.relative_to("/")
    shutil.copytree(environment, place, symlinks=True)
    if below is not None:
        _subtract(layer, below)
    for directory, directories, files in os.walk(layer, topdown=False):
        for name in (*files, *directories, "."):
            os.utime(Path(directory, name), (MODIFIED, MODIFIED), follow_symlinks=False)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _subtract(layer: Path, below: Path) -> None:
    """Delete files that the layer below has too, and directories in which nothing is left."""
    for directory, directories, files in os.walk(layer, topdown=False):
        here = Path(directory)
        for name in (*files, *directories):
            path = here / name
            if path.is_symlink() or path.is_file():
                if os.path.lexists(below / path.relative_to(layer)):
                    path.unlink()
            elif not any(path.iterdir()):
                path.rmdir()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
