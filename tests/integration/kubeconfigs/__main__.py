"""Renew the page with what kubectl and kdm do now: ``python -m integration.kubeconfigs``, in ``tests/``."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from ..controlplane import binaries
from . import page, pki
from .running import Oracle, Worker


async def main() -> None:
    """Run the whole table and write the page."""
    kubectl = binaries.find("kubectl")["kubectl"]
    with tempfile.TemporaryDirectory() as directory:
        certificates, homes = Path(directory, "pki"), Path(directory, "homes")
        certificates.mkdir()
        homes.mkdir()
        pki.write(certificates)
        async with Worker.running() as worker:
            seen = await page.text(Oracle(kubectl, worker, certificates, homes))
    page.PAGE.write_text(page.renewed(page.PAGE.read_text(encoding="utf-8"), seen), encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
