"""The image of a kind node without pulling one: the distribution's system, kind's own files, Kubernetes as built here.

Its control plane's images are in it too, so that a cluster starts from nothing else. Made once for each state of all it
is made of; the first time on a machine takes two minutes, beside the building of its programs.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from integration.containers.debian import SUITE, install_system, pack, run
from integration.containers.engine import Engine
from integration.controlplane import binaries

from . import images

__all__ = ["PROGRAMS", "node_image"]

TAG: Final = "kdm-test/node"
FILES: Final = Path(__file__).parent / "node"
PACKAGES: Final = (
    "busybox-static",
    "containerd",
    "containernetworking-plugins",
    "ipset",
    "iproute2",
    "iptables",
    "kmod",
    "mount",
    "procps",
    "runc",
    "systemd",
)
INSTALLED: Final = ("crictl", "kubeadm", "kubectl", "kubelet")
STARTED: Final = (*binaries.PACKAGES["kubernetes"], "coredns", "etcd", "kube-proxy", "kube-router")
PROGRAMS: Final = tuple(dict.fromkeys((*INSTALLED, *STARTED)))

# What kind's images/base/Dockerfile takes out of a system that boots in a container.
NOT_BOOTED: Final = (
    "lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service",
    "lib/systemd/system/multi-user.target.wants/*",
    "lib/systemd/system/local-fs.target.wants/*",
    "lib/systemd/system/basic.target.wants/*",
    "lib/systemd/system/sockets.target.wants/*udev*",
    "lib/systemd/system/sockets.target.wants/*initctl*",
    "etc/systemd/system/*.wants/*",
    "usr/lib/sysctl.d/*",  # settings of the kernel, which is the machine's
)
UNUSED: Final = ("usr/share/doc", "usr/share/man", "usr/share/locale")
UNUSED_OF_KIND: Final = ("usr/local/bin/clean-install", "etc/systemd/system/containerd-fuse-overlayfs.service")
LINKS: Final = {
    "sbin/init": "/usr/lib/systemd/systemd",
    "usr/local/bin/containerd": "/usr/bin/containerd",
    "opt/cni/bin": "/usr/lib/cni",
}
CONFIGURATION: Final = ('ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]', "ENV container=docker")
UNITS: Final = ("containerd", "kubelet", "node-network", "undo-mount-hacks")

# Let the node's own containerd take the images, so that whatever it keeps of them is as it expects.
IMPORT: Final = """
containerd > /containerd.log 2>&1 & containerd=$!
until ctr version > /dev/null 2>&1; do kill -0 $containerd || { cat /containerd.log >&2; exit 1; }; sleep 0.1; done
ctr --namespace=k8s.io images import --no-unpack /images.tar
kill $containerd
wait $containerd || true
rm -r /containerd.log /images.tar /run/containerd
"""


def node_image(engine: Engine) -> str:
    """Load the node image into an engine and return its tag.

    Raises:
        Unavailable: debootstrap is missing, or cannot run here.
        BuildFailed: It could not be made.
    """
    return engine.load_root(root_archive(), TAG, *CONFIGURATION)


def root_archive() -> Path:
    """Make the node's system, or find that somebody did, and return it as a tar archive."""
    sources = sorted(path for path in (*FILES.rglob("*"), *Path(__file__).parent.glob("*image*.py")) if path.is_file())
    parts = [repr((path.name, path.read_bytes())) for path in sources]
    parts += [str(binaries.built(name).parent) for name in PROGRAMS]
    parts += [binaries.version("kind", "sigs.k8s.io/kind"), SUITE, os.uname().machine]

    def make(directory: Path) -> None:
        with (
            tempfile.TemporaryDirectory(prefix="root-", dir=directory) as root,
            binaries.progress("making a node image"),
        ):
            _make(Path(root))
            pack(Path(root), directory / "root.tar")

    return binaries.cached(f"node-image-{binaries.digest(repr(parts).encode())}", make) / "root.tar"


def _make(root: Path) -> None:
    root.chmod(0o755)
    install_system(root, PACKAGES)
    for pattern in (*NOT_BOOTED, *UNUSED):
        for path in root.glob(pattern):
            _delete(path)
    _add_files(root)
    for name in INSTALLED:
        shutil.copy(binaries.built(name), root / "usr/bin")
    run("chroot", str(root), "systemctl", "--quiet", "enable", *UNITS)
    run("chroot", str(root), "systemctl", "--quiet", "mask", "systemd-binfmt")  # the kernel has one for all

    version = binaries.version("kubernetes", "k8s.io/kubernetes")
    (root / "kind/version").write_text(version)
    names = images.names(binaries.built("kubeadm"), version)
    config = root / "etc/containerd/config.toml"
    config.write_text(config.read_text().replace("PAUSE", names[images.PAUSE]))
    images.write_images(root / "images.tar", root, names)
    isolated = ("unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={root / 'proc'}")
    run(*isolated, "chroot", str(root), "sh", "-euc", IMPORT)


def _add_files(root: Path) -> None:
    """Copy what kind's source has for its nodes, and over it what is in `node` here."""
    base = binaries.source("kind", "sigs.k8s.io/kind") / "images" / "base" / "files"
    for name in ("etc", "kind", "usr"):
        shutil.copytree(base / name, root / name, copy_function=shutil.copyfile, dirs_exist_ok=True)
    for name in UNUSED_OF_KIND:
        _delete(root / name)
    shutil.copytree(FILES, root, copy_function=shutil.copyfile, dirs_exist_ok=True)
    for directory in (root / "etc", root / "kind", root / "usr"):  # the module cache is read-only, and so were these
        for path in (directory, *(path for path in directory.rglob("*") if path.is_dir() and not path.is_symlink())):
            path.chmod(path.stat().st_mode | 0o200)
    for program in (root / "usr/local/bin/entrypoint", *(root / "kind/bin").iterdir()):
        program.chmod(0o755)
    for name in ("etc/kubernetes/manifests", "opt/cni"):
        (root / name).mkdir(parents=True)
    for name, target in LINKS.items():
        (root / name).symlink_to(target)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
