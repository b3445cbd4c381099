"""kdm's checks. `nox -l` lists them; without arguments the ones run that `make test` runs."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2026.10"
nox.options.default_venv_backend = "uv"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
CI = os.environ.get("CI", "").lower() in {"1", "true"}
nox.options.stop_on_first_error = CI  # what failed is then read last, or last but one
nox.options.error_on_missing_interpreters = CI  # elsewhere nox says which Python it does not find, and goes on
XDG_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
CACHE = Path(os.environ.get("KDM_CACHE_DIR") or XDG_CACHE / "kdm")  # outlives a clone
# Tests start kdm many hundreds of times; without bytecode on disk each start compiles everything, for seconds.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
PYTHONS = ["3.11", "3.12", "3.13"]
# The newest there is runs for every change, with coverage; the others each night. Integration and kind run on .venv's.
NEWEST = next((each for each in reversed(PYTHONS) if CI or shutil.which(f"python{each}")), PYTHONS[-1])
nox.options.sessions = [
    "lint", "types", "imports", "audit", f"unit-{NEWEST}", "docs", "fuzz", "integration", "chart", "image",
    "kind", "gate",
]  # fmt: skip

FUZZ_PYTHON = "3.13"  # atheris has no wheels for 3.11
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
# Half as many again as there are cores: a test waits a third of its time. -n 0, behind it, is for a debugger.
PROCESSES = CORES * 3 // 2
PARALLEL = ["--numprocesses", str(PROCESSES), "--dist", "worksteal"]
# Each process has control planes of its own, a gigabyte; on a cluster that is given they would count each other's
# requests. The files keep their order: by the number of their tests, those that wait longest would come last.
ON_OWN_CLUSTERS = (
    []
    if "KDM_TEST_KUBECONFIG" in os.environ
    else ["--numprocesses", str(min(PROCESSES, 8)), "--dist", "loadfile", "--no-loadscope-reorder"]
)
CODE = ["src", "tests", "benchmarks", "deploy", "docs", "noxfile.py"]
EACH_CHANGE = ["-m", "not nightly"]  # what takes long to build or to run is left to the night
SLOWEST = ["--durations=20", "--durations-min=1"]
# Sessions of their own.
OWN_SESSIONS = [f"--ignore=tests/integration/{name}" for name in ("chart", "image", "kind")]
NOT_ON_KIND = [f"--ignore=tests/integration/{name}" for name in ("chart", "image")]  # they make what they test on
RUNTIME = ["--extra", "server", "--extra", "kubernetes", "--extra", "cli"]  # what the image has
LOCKS = {
    "core.txt": ["pyproject.toml"],
    "runtime.txt": ["pyproject.toml", *RUNTIME],
    "dev.txt": ["pyproject.toml", "--all-extras", "--group", "dev", "--constraints", "requirements/runtime.txt"],
    "build.txt": ["--group", "build", "--constraints", "requirements/dev.txt"],
    "go.txt": ["--group", "go"],
    "bench.txt": ["--group", "bench", "--constraints", "requirements/dev.txt"],
    "docs.txt": ["--group", "docs", "--constraints", "requirements/dev.txt"],
    "release.txt": ["--group", "release", "--constraints", "requirements/dev.txt"],
    "otel.txt": ["pyproject.toml", *RUNTIME, "--extra", "otel", "--constraints", "requirements/dev.txt"],
    "fuzz.txt": ["--group", "fuzz", "--constraints", "requirements/dev.txt"],
    "dashboard.txt": ["--group", "dashboard"],
    "hadolint.txt": ["--group", "hadolint"],
    "outside.txt": ["--group", "outside", "--constraints", "requirements/dev.txt"],
    "clients.txt": ["--group", "clients", "--constraints", "requirements/dev.txt"],
    "sslyze.txt": ["--group", "sslyze"],
    "chart.txt": ["--group", "chart"],
}


def let_pyenv_find(versions: list[str]) -> None:
    """Make pyenv's commands answer for these versions too: by default they do for one version alone."""
    installed = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    found = [each.name for minor in versions for each in sorted(installed.glob(f"{minor}.*"))[-1:]]
    if found:
        os.environ["PYENV_VERSION"] = ":".join([platform.python_version(), *found])


let_pyenv_find(PYTHONS)


def install(session: nox.Session) -> None:
    """Install exactly the locked dependencies, and kdm itself as an editable package."""
    session.install("--require-hashes", "--requirement", "requirements/dev.txt")
    session.install("--no-deps", "--no-build-isolation", "--editable", ".")


@nox.session
def fmt(session: nox.Session) -> None:
    """Format the code and sort its imports, in place."""
    install(session)
    session.run("ruff", "check", "--fix-only", *CODE)
    session.run("ruff", "format", *CODE)


@nox.session(allow_parallel=True)
def lint(session: nox.Session) -> None:
    """Check formatting and lint rules; change nothing."""
    install(session)
    session.run("ruff", "format", "--check", *CODE)
    session.run("ruff", "check", *CODE)


@nox.session(allow_parallel=True)
def types(session: nox.Session) -> None:
    """Check types, strictly."""
    install(session)
    # A minute without a cache; mypy looks at what files contain, wherever they are. SQLite is not for several at once.
    cache = [f"--cache-dir={CACHE / 'mypy'}", "--no-sqlite-cache"] if CI else []
    session.run("mypy", *cache, *session.posargs)


@nox.session(allow_parallel=True)
def imports(session: nox.Session) -> None:
    """Check who may import whom: the hexagon's contracts."""
    install(session)
    session.run("lint-imports")


@nox.session(allow_parallel=True)
def audit(session: nox.Session) -> None:
    """Check the supply chain: every locked requirement is pinned and hashed; core.txt and runtime.txt are enough.

    Nothing is looked up on the network beyond the packages themselves. Bandit's rules, as ruff's S, are part of lint.
    """
    for path in sorted(Path("requirements").glob("*.txt")):
        text = path.read_text(encoding="utf-8").replace("\\\n", " ")
        requirements = [line for line in text.splitlines() if line and not line.startswith("#")]
        loose = [each for each in requirements if "==" not in each or "--hash=sha256:" not in each]
        if loose or not requirements:
            session.error(f"{path}: not pinned and hashed: {'; '.join(loose) or 'it is empty'}")
    for lock, modules in {
        "core": "kdm_core, kdm_adapters.memory",
        "runtime": "kdm_cli.serve, kdm_cli.commands.tree, kdm_adapters.kubernetes",
    }.items():
        session.run("uv", "pip", "sync", "--quiet", "--require-hashes", f"requirements/{lock}.txt")
        session.run("uv", "pip", "check")
        session.run("python", "-W", "error", "-c", f"import {modules}", env={"PYTHONPATH": "src"})


@nox.session(python=PYTHONS)
def unit(session: nox.Session) -> None:
    """Run the unit tests: no cluster, loopback sockets only. Arguments go to pytest: `-m ''` for all.

    The newest Python measures coverage: of lines, by sys.monitoring (PEP 669), which costs little. Branches cost much.
    """
    install(session)
    # Not where arguments choose tests: the floor is for all of them.
    coverage = ["--cov", "--cov-report=term"] if session.python == NEWEST and not session.posargs else []
    core = "ctrace" if session.python == "3.11" else "sysmon"
    args = [*EACH_CHANGE, *PARALLEL, *SLOWEST, *coverage, *session.posargs]
    session.run("pytest", "tests/unit", *args, env={"COVERAGE_CORE": core})


@nox.session
def integration(session: nox.Session) -> None:
    """Run the integration tests on a real Kubernetes control plane, built on demand. Arguments go to pytest."""
    install(session)
    args = [*EACH_CHANGE, *OWN_SESSIONS, *ON_OWN_CLUSTERS, *SLOWEST, *session.posargs]
    session.run("pytest", "tests/integration", *args)


@nox.session(allow_parallel=True)
def chart(session: nox.Session) -> None:
    """Check the Helm chart: what it renders, what it refuses, and its whole life on a real API server."""
    install(session)
    args = [*EACH_CHANGE, *ON_OWN_CLUSTERS, *SLOWEST, *session.posargs]
    session.run("pytest", "tests/integration/chart", *args)


@nox.session(allow_parallel=True)
def image(session: nox.Session) -> None:
    """Build the container image and run it. Needs Docker; as root it brings its own engine. Arguments go to pytest."""
    install(session)
    session.run("pytest", "tests/integration/image", *EACH_CHANGE, *SLOWEST, *session.posargs)


@nox.session
def page(session: nox.Session) -> None:
    """Try the page in Chromium, and draw its pictures for the documentation. Part of integration, too."""
    install(session)
    Path("docs/img/page").mkdir(parents=True, exist_ok=True)
    session.run("pytest", "tests/integration/page", *session.posargs, env={"KDM_PAGE_PICTURES": "docs/img/page"})


@nox.session(name="bench-page")
def bench_page(session: nox.Session) -> None:
    """Measure the page with 10,000 Deployments, 100 changes a second. Arguments go to benchmarks.page."""
    install(session)
    session.run("python", "-m", "benchmarks.page", *session.posargs)


@nox.session(allow_parallel=True)
def docs(session: nox.Session) -> None:
    """Renew the generated parts of the documentation and build the site, strictly and offline, into ./site."""
    install(session)
    session.install("--require-hashes", "--requirement", "requirements/docs.txt")
    session.run("python", "-m", "docs.generate")
    session.run("mkdocs", "build", "--strict", env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session(python=FUZZ_PYTHON)
def fuzz(session: nox.Session) -> None:
    """Search for bytes that kdm cannot take, 5 s for each of its parsers. Arguments go to fuzz.search."""
    install(session)
    session.install("--require-hashes", "--requirement", "requirements/fuzz.txt")
    session.run("python", "-m", "fuzz.search", "--seconds", "5", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session(python=FUZZ_PYTHON)
def nightly(session: nox.Session) -> None:
    """Search for counterexamples for a long time: state machines, kubeconfigs, a million requests, the parsers.

    Measure the unit tests' coverage of branches; run them on the Pythons that not every change is tested on; and keep
    the page open for ten minutes.
    """
    install(session)
    for version in PYTHONS:
        if version != NEWEST:
            session.notify(f"unit-{version}", posargs=("-m", ""))
    session.notify("bench-page", posargs=("--seconds", "600"))
    session.install("--require-hashes", "--requirement", "requirements/fuzz.txt")
    branches = ["--cov", "--cov-branch", "--cov-report=term", "--cov-fail-under=96"]
    session.run("pytest", "tests/unit", *PARALLEL, *branches, *session.posargs)
    long = {"HYPOTHESIS_PROFILE": "nightly", "PYTHONPATH": "tests"}
    session.run("pytest", "tests/unit", "-k", "stateful or machine", "--timeout=0", *session.posargs, env=long)
    session.run("pytest", "tests/integration/kubeconfigs", "-k", "generated or secrets", *session.posargs, env=long)
    session.run("pytest", "tests/integration/edge/test_mutated_requests.py", "-s", *session.posargs, env=long)
    session.run("python", "-m", "fuzz.search", "--seconds", "1800", env=long)
    own = ["tests/integration/chart", "tests/integration/image"]
    session.run("pytest", *own, "-m", "nightly", *session.posargs)
    session.run("pytest", "tests/integration", "--kind", *NOT_ON_KIND, *session.posargs)


@nox.session
def kind(session: nox.Session) -> None:
    """Run kdm's image and chart on a kind cluster made for it; with --all, all integration tests. Needs Docker or root.

    Without --all what is marked nightly is left out. Other arguments go to pytest.
    """
    install(session)
    args = [each for each in session.posargs if each != "--all"]
    if "--all" in session.posargs:
        session.run("pytest", "tests/integration", "--kind", *NOT_ON_KIND, *args)
    else:
        session.run("pytest", "tests/integration/kind", *EACH_CHANGE, *SLOWEST, *args)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure how kdm serves beside what one would use instead. Arguments go to benchmarks.http, for example --help."""
    install(session)
    session.install("--require-hashes", "--requirement", "requirements/bench.txt")
    session.run("python", "-m", "benchmarks.http", *session.posargs)


@nox.session
def gate(session: nox.Session) -> None:
    """Fail if kdm serves slower than it may, by a short benchmark. Arguments go to benchmarks.gate."""
    install(session)
    session.run("python", "-m", "benchmarks.gate", *session.posargs)


@nox.session(name="bench-cache")
def bench_cache(session: nox.Session) -> None:
    """Measure the watch cache beside its peers, on a real control plane. Arguments go to benchmarks.cache."""
    install(session)
    session.install("--require-hashes", "--requirement", "requirements/bench.txt")
    session.run("python", "-m", "benchmarks.cache", *session.posargs)


@nox.session(name="bench-edge")
def bench_edge(session: nox.Session) -> None:
    """Measure how much slower kdm serves under attack. Arguments go to benchmarks.edge_attack."""
    install(session)
    session.run("python", "-m", "benchmarks.edge_attack", *session.posargs)


@nox.session
def dashboard(session: nox.Session) -> None:
    """Draw the dashboard's panels for the documentation, from what a real Prometheus scrapes of kdm under load."""
    install(session)
    with session.chdir("tests"):
        session.run("python", "-m", "integration.operate.picture")


@nox.session
def soak(session: nox.Session) -> None:
    """Change a cluster under kdm for ten minutes with a fault every 20 s. Arguments go to benchmarks.soak."""
    install(session)
    session.run("python", "-m", "benchmarks.soak", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """Build and check wheel, chart package and image tag, of one version, into ./dist; publish nothing."""
    install(session)
    session.install("--require-hashes", "--requirement", "requirements/release.txt")
    session.run("python", "-m", "integration.release", *session.posargs, env={"PYTHONPATH": "tests"})


@nox.session
def local(session: nox.Session) -> None:
    """Do what a commit needs: format, lint, types, imports, unit tests. Arguments go to pytest."""
    install(session)
    session.run("ruff", "check", "--fix-only", *CODE)
    session.run("ruff", "format", *CODE)
    session.run("ruff", "check", *CODE)
    session.run("mypy")
    session.run("lint-imports")
    session.run("pytest", "tests/unit", *session.posargs)


@nox.session
def lock(session: nox.Session) -> None:
    """Renew the hash-locked requirements from pyproject.toml. Arguments go to uv, for example --upgrade."""
    session.install("uv")
    for name, options in LOCKS.items():
        session.run(
            "uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes",
            "--no-annotate", "--no-header", *options, *session.posargs, "--output-file", f"requirements/{name}",
        )  # fmt: skip


if __name__ == "__main__":
    os.chdir(Path(__file__).parent)
    nox.main()
