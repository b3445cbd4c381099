"""What importing kdm brings along, and what it offers."""

from __future__ import annotations

import ast
import importlib.resources
import json
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import kdm_adapters
import kdm_cli
import kdm_core
import kdm_http

REPOSITORY = Path(__file__).parents[2]
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
    assert foreign(imported_by("from kdm_core import *")) == {"attr", "attrs", "kdm_core"}


def test_the_core_brings_only_what_is_asked_for() -> None:
    """A command that needs the errors alone does not pay for the rest."""
    assert foreign(imported_by("import kdm_core.errors")) == {"kdm_core"}


def test_the_memory_adapter_needs_no_more_than_the_core() -> None:
    """Whoever embeds kdm or tests against it does not pay for a Kubernetes client."""
    brought = foreign(imported_by("import kdm_adapters.memory, kdm_adapters.memory.demo"))
    assert brought == {"attr", "attrs", "kdm_core", "kdm_adapters"}


def test_the_core_does_not_bring_its_test_suites() -> None:
    assert not imported_by("import kdm_core, kdm_adapters.memory") & {"pytest", "hypothesis"}


def test_the_command_line_is_parsed_with_no_more_than_the_core() -> None:
    """Every command pays for this, those that ask a server too."""
    core = {"attr", "attrs", "kdm_cli", "kdm_core", "kdm_http"}
    for arguments in (["serve", "--help"], ["certs", "revoke", "--help"], ["policy", "check", "-"]):
        assert foreign(imported_by_command(*arguments)) == core, arguments


def test_a_command_that_asks_a_kdm_loads_no_server_and_no_kubernetes(tmp_path: Path) -> None:
    """Nor what takes long and is not needed: attrs' classes of the domain, an event loop, a library that draws."""
    missing = str(tmp_path / "none.pem")
    flags = ["--server", "https://localhost:1", "--ca", missing, "--cert", missing, "--key", missing]
    loaded = imported_by_command("get", "web", *flags)
    assert "kdm_adapters" in loaded
    assert (
        loaded & (SERVER | {"attr", "asyncio", "cryptography", "httpx", "kdm_http", "rich", "rich_click", "yaml"})
        == set()
    )


def test_certificates_are_made_without_loading_a_server(tmp_path: Path) -> None:
    loaded = imported_by_command("certs", "init", str(tmp_path))
    assert "cryptography" in loaded
    assert loaded & SERVER == set()


def test_every_package_that_is_imported_is_declared_where_it_is_needed() -> None:
    """And nothing is declared that nobody imports, but what another one needs to be quick."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    declared = {"core": project["dependencies"], **project["optional-dependencies"]}
    distributions = {extra: {re.split(r"[^\w-]", each)[0] for each in names} for extra, names in declared.items()}
    found: dict[str, set[str]] = {extra: set() for extra in declared}
    for path in sorted((REPOSITORY / "src").rglob("*.py")):
        extras = ["core", *extras_of(path.relative_to(REPOSITORY / "src").as_posix())]
        for name in third_party_imports(path):
            providers = [extra for extra in extras if DISTRIBUTIONS.get(name, name) in distributions[extra]]
            assert providers, f"{path} imports {name}, which none of {extras} installs"
            for extra in providers:
                found[extra].add(DISTRIBUTIONS.get(name, name))
    unused = {extra: names - found[extra] for extra, names in distributions.items()}
    assert unused == {extra: {"httptools"} if extra == "server" else PLUGINS.get(extra, set()) for extra in declared}


def test_a_cluster_without_its_extra_is_an_error_of_one_line() -> None:
    code = (
        "import sys; sys.modules['aiohttp'] = None; from kdm_cli.main import main;"
        "sys.exit(main(['serve', '--dev', '--repository', 'kubernetes', '--port', '0', '--ops-port', '0']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert (
        "kdm: --repository kubernetes needs kdm's extra kubernetes: pip install 'kdm-service[kubernetes]'"
        in done.stderr
    )


ASKING = (
    "kdm_cli/client/",
    "kdm_cli/commands/",
    "kdm_cli/contexts.py",
    "kdm_cli/dev_context.py",
    "kdm_cli/exits.py",
    "kdm_cli/news.py",
    "kdm_cli/output/",
    "kdm_cli/targets.py",
    "kdm_cli/waits.py",
)
"""The modules of the commands that ask a kdm."""

DISTRIBUTIONS = {
    "aiohttp_socks": "aiohttp-socks",
    "dependency_injector": "dependency-injector",
    "opentelemetry": "opentelemetry-sdk",
    "prometheus_client": "prometheus-client",
    "python_socks": "python-socks",
    "rich_click": "rich-click",
    "tomli_w": "tomli-w",
    "yaml": "pyyaml",
}
"""What installs a package of another name."""

PLUGINS = {"otel": {"opentelemetry-exporter-otlp-proto-http"}, "testing": {"pytest-asyncio"}}
"""What is declared without being imported by its own name."""


def extras_of(path: str) -> list[str]:
    """Return the extras that a file of src may take for granted."""
    if path in {"kdm_adapters/remote/transport.py", "kdm_adapters/remote/closing.py"}:
        return ["remote", "server"]  # `kdm ui` passes calls on with them
    for room, extra in (
        ("core/testing", "testing"),
        ("adapters/remote", "remote"),
        ("adapters/kubernetes", "kubernetes"),
    ):
        if path.startswith(f"kdm_{room}/"):
            return [extra]
    if path.endswith("/tracing.py"):
        return ["server", "otel"]
    if path.startswith(ASKING):
        return ["cli"]
    if path.startswith(("kdm_http/", "kdm_cli/", "kdm_adapters/prometheus/")):
        return ["server"]
    return []


def third_party_imports(path: Path) -> set[str]:
    """Return the top-level packages that a file imports, beyond the standard library and kdm's own.

    ``typing_extensions`` for type checkers alone is none: they bring it.
    """
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name.partition(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    brought = (
        {"typing_extensions"} if "if TYPE_CHECKING:\n    from typing_extensions import" in path.read_text() else set()
    )
    return {each for each in names - brought if each not in sys.stdlib_module_names and not each.startswith("kdm_")}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_declares_what_it_offers(name: str) -> None:
    """``__all__`` is every public name, sorted: constants, classes, functions."""
    package = importlib.import_module(name)
    for each in getattr(package, "__all__", []):
        getattr(package, each)  # some come when they are asked for
    public = [
        each
        for each, value in vars(package).items()
        if not each.startswith("_")
        and not isinstance(value, ModuleType)
        and each not in {"annotations", "import_module", "TYPE_CHECKING"}
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
