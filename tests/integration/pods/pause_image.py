"""A container image made from one C file, without any base image or image builder."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path
from typing import Final

__all__ = ["PAUSE", "write_archive"]

PAUSE: Final = "kdm.test/pause:1"
"""The image's name: it waits until it is told to end. Sandboxes run it, and any Pod may."""

_SOURCE: Final = Path(__file__).with_name("pause.c")
_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def write_archive(path: Path) -> Path:
    """Compile the program and pack it as `docker save` would.

    Raises:
        subprocess.CalledProcessError: There is no C compiler that can link statically.
    """
    program = path.with_name("pause")
    compile_it = ["gcc", "-static", "-Os", "-s", "-o", str(program), str(_SOURCE)]
    subprocess.run(compile_it, check=True, capture_output=True, text=True)
    layer = _tar({"pause": program.read_bytes()})
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": ["/pause"], "User": "65535:65535"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [PAUSE], "Layers": ["layer.tar"]}]
    files = {"config.json": _json(config), "layer.tar": layer, "manifest.json": _json(manifest)}
    path.write_bytes(_tar(files))
    return path


def _tar(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = 0o755
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
