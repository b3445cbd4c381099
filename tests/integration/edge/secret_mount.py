"""A directory that changes as the kubelet changes the mount of a Secret: all its files at once."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping
from pathlib import Path

__all__ = ["SecretMount"]


class SecretMount:
    """Files that are links into `..data`, which is a link to a directory of one generation.

    See `AtomicWriter` in Kubernetes' pkg/volume/util/atomic_writer.go.
    """

    def __init__(self, path: Path, files: Mapping[str, bytes]) -> None:
        self.path = path
        self._generations = itertools.count(1)
        path.mkdir()
        self.publish(files)
        for name in files:
            (path / name).symlink_to(Path("..data", name))

    def publish(self, files: Mapping[str, bytes]) -> None:
        """Replace the contents of all files in one step, and delete the generation before."""
        data = self.path / "..data"
        before = data.resolve() if data.is_symlink() else None
        generation = self.path / f"..2026_11_21_{next(self._generations)}"
        generation.mkdir()
        for name, content in files.items():
            (generation / name).write_bytes(content)
        coming = self.path / "..data_tmp"
        coming.symlink_to(generation.name)
        coming.rename(data)
        if before is not None:
            shutil.rmtree(before)
