"""What importing kdm brings along, and what it offers."""

from __future__ import annotations

import importlib.resources
import json
import pkgutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import kdm_adapters
import kdm_cli
import kdm_core
import kdm_http

ROOTS = (kdm_core, kdm_adapters, kdm_http, kdm_cli)
PACKAGES = [
    name
    for root in ROOTS
    for name in (
        root.__name__,
        *(each.name for each in pkgutil.walk_packages(root.__path__, root.__name__ + ".") if each.ispkg),
    )
]


SERVER = {
    "aiohttp",
    "dependency_injector",
    "kubernetes",
    "litestar",
    "msgspec",
    "prometheus_client",
    "uvicorn",
    "uvloop",
}
"""What serving and watching a cluster need, and whoever only asks a server does not."""


def imported_by(statement: str) -> set[str]:
    """Return the top-level packages that a fresh interpreter has imported after a statement."""
    report = "import json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    answer = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{report}"], check=True, capture_output=True, text=True, timeout=60
    )
    return set(json.loads(answer.stdout.splitlines()[-1]))


def imported_by_command(*arguments: str) -> set[str]:
    """Return the top-level packages that ``kdm`` has imported when it ends."""
    return imported_by(
        "import contextlib; from kdm_cli.main import main\n"
        f"with contextlib.suppress(SystemExit): main({list(arguments)!r})"
    )


def foreign(names: set[str]) -> set[str]:
    """Return those that the standard library does not bring, beyond what every interpreter here starts with."""
    return {name for name in names - imported_by("") if name not in sys.stdlib_module_names}


def test_the_core_needs_the_standard_library_and_attrs_alone() -> None:
    assert foreign(imported_by("import kdm_core")) == {"attr", "attrs", "kdm_core"}


def test_the_memory_adapter_needs_no_more_than_the_core() -> None:
    """Whoever embeds kdm or tests against it does not pay for a Kubernetes client."""
    brought = foreign(imported_by("import kdm_adapters.memory, kdm_adapters.memory.demo"))
    assert brought == {"attr", "attrs", "kdm_core", "kdm_adapters"}


def test_the_core_does_not_bring_its_test_suites() -> None:
    assert not imported_by("import kdm_core, kdm_adapters.memory") & {"pytest", "hypothesis"}


def test_the_command_line_is_parsed_with_no_more_than_the_core() -> None:
    """Every command pays for this, those that ask a server too."""
    core = {"attr", "attrs", "kdm_cli", "kdm_core", "kdm_http"}
    for arguments in (["--help"], ["serve", "--help"], ["certs", "revoke", "--help"], ["policy", "check", "-"]):
        assert foreign(imported_by_command(*arguments)) == core, arguments


def test_certificates_are_made_without_loading_a_server(tmp_path: Path) -> None:
    loaded = imported_by_command("certs", "init", str(tmp_path))
    assert "cryptography" in loaded
    assert loaded & SERVER == set()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_declares_what_it_offers(name: str) -> None:
    """``__all__`` is every public name, sorted: constants, classes, functions."""
    package = importlib.import_module(name)
    public = [
        each
        for each, value in vars(package).items()
        if not each.startswith("_") and not isinstance(value, ModuleType) and each != "annotations"
    ]
    assert list(getattr(package, "__all__", [])) == sorted(public, key=kind_and_name)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_for(name: str) -> None:
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize("root", ROOTS, ids=lambda each: str(each.__name__))
def test_types_are_shipped(root: ModuleType) -> None:
    """PEP 561: without the marker, a type checker ignores the annotations of an installed package."""
    assert importlib.resources.files(root).joinpath("py.typed").is_file()


def kind_and_name(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name
