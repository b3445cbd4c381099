"""Renew the page with what kubectl and kdm do now: ``python -m integration.kubeconfigs``, in ``tests/``."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from integration.controlplane import binaries

from . import page, pki
from .running import Oracle, Worker


async def _seen(directory: Path) -> str:
    async with Worker.running() as worker:
        return await page.text(Oracle(binaries.find("kubectl")["kubectl"], worker, directory / "pki", directory))


def main() -> None:
    """Run the whole table and write the page."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "pki").mkdir()
        pki.write(directory / "pki")
        seen = asyncio.run(_seen(directory))
    page.PAGE.write_text(page.renewed(page.PAGE.read_text(encoding="utf-8"), seen), encoding="utf-8")


if __name__ == "__main__":
    main()
