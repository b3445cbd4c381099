"""The images of a control plane, each of one layer with a static program, as one archive like those of `docker save`.

What a program needs of the distribution, the packet filter's commands and their libraries, comes from a node's system.
"""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from integration.containers.debian import run
from integration.controlplane import binaries

__all__ = ["PAUSE", "write_images"]

BUSYBOX: Final = "docker.io/library/busybox:1.37"
KUBE_ROUTER: Final = "kdm.test/kube-router:1"
PAUSE: Final = "pause"

SHELL: Final = ("sh", "sleep", "wget", "nc", "nslookup")
PATH: Final = "usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Image:
    """One image.

    Attributes:
        files: Name in the image -> the file.
        links: Name in the image -> what it points to.
        entrypoint: What runs, if whoever starts it does not say.
    """

    files: Mapping[str, Path]
    links: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()


def names(kubeadm: Path, version: str) -> dict[str, str]:
    """Ask kubeadm which images it will start: `etcd` -> `registry.k8s.io/etcd:3.6.8-0`."""
    listed = run(str(kubeadm), "config", "images", "list", f"--kubernetes-version={version}").split()
    return {name.rpartition("/")[2].partition(":")[0]: name for name in listed}


def write_images(archive: Path, root: Path, called: Mapping[str, str]) -> None:
    """Write the images that a node starts with.

    Args:
        archive: Where to.
        root: A node's system.
        called: The images' names, as `names` has them.

    Raises:
        BuildFailed: A program could not be built, or a command in the system failed.
    """
    busybox = {"bin/busybox": root / "bin/busybox"}
    filter_ = _packet_filter(root)
    images = {
        **{called[name]: Image(_program(name)) for name in called.keys() & binaries.PACKAGES["kubernetes"].keys()},
        called["etcd"]: Image(_program("etcd")),
        called["kube-proxy"]: Image(_program("kube-proxy") | filter_),
        called["coredns"]: Image({"coredns": binaries.built("coredns")}, entrypoint=("/coredns",)),
        # The runtime kills it; nothing in it has to listen.
        called[PAUSE]: Image(busybox, entrypoint=("/bin/busybox", "sleep", "infinity")),
        KUBE_ROUTER: Image(_program("kube-router") | filter_),
        BUSYBOX: Image(busybox, {f"bin/{name}": "busybox" for name in SHELL}),
    }
    with tarfile.open(archive, "w") as packed:
        manifest = []
        for number, (name, image) in enumerate(images.items()):
            layer = _layer(image)
            config = {
                "architecture": ARCHITECTURES[platform.machine()],
                "os": "linux",
                "config": {"Env": [f"PATH=/{PATH}"], "Entrypoint": list(image.entrypoint) or None},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
            }
            _add(packed, f"{number}.json", json.dumps(config).encode())
            _add(packed, f"{number}.tar", layer)
            manifest.append({"Config": f"{number}.json", "RepoTags": [name], "Layers": [f"{number}.tar"]})
        _add(packed, "manifest.json", json.dumps(manifest).encode())


def _program(name: str) -> dict[str, Path]:
    return {f"usr/local/bin/{name}": binaries.built(name)}


def _packet_filter(root: Path) -> dict[str, Path]:
    """Collect iptables and ipset with what they load: extensions and shared libraries."""
    wanted = [f"/usr/sbin/{v}tables{what}" for v in ("ip", "ip6") for what in ("", "-save", "-restore")]
    extensions = [f"/{path.relative_to(root)}" for path in root.glob("usr/lib/*/xtables/*.so")]
    found = {}
    for name in (*wanted, "/usr/sbin/ipset", *extensions):
        real = _inside(root, "readlink", "-f", name).strip()
        libraries = [word for word in _inside(root, "ldd", real).split() if word.startswith("/") and word[-1] != ":"]
        for path in (name, *libraries):
            if path.removeprefix("/") not in found:
                found[path.removeprefix("/")] = root / _inside(root, "readlink", "-f", path).strip().removeprefix("/")
    return found


def _inside(root: Path, *command: str) -> str:
    return run("chroot", str(root), *command)


def _layer(image: Image) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, file in image.files.items():
            _add(archive, name, file.read_bytes())
        for name, target in image.links.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            archive.addfile(entry)
    return packed.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.size = 0o755, len(content)
    archive.addfile(entry, io.BytesIO(content))
