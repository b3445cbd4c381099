"""kdm, on the event loop its service runs on."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import aclosing
from pathlib import Path

import uvloop

from benchmarks.cache.readers.measured import Reader, Seen, main
from kdm_adapters.kubernetes.config.credentials import ClusterConfig
from kdm_adapters.kubernetes.repository import KubernetesDeploymentRepository
from kdm_core.model import ChangeKind


class Kdm(Reader):
    """The repository; changes are seen through its `changes`."""

    def __init__(self, kubeconfig: Path) -> None:
        self._repository = KubernetesDeploymentRepository(ClusterConfig("kubeconfig", kubeconfig))
        self._following: asyncio.Task[None] | None = None

    async def start(self, objects: int) -> int:  # noqa: ARG002 - it knows itself
        await self._repository.__aenter__()
        await self._repository.wait_synced(600)
        return self._repository.sync_status().objects

    async def follow(self, seen: Seen) -> None:
        arranged = asyncio.Event()

        async def following() -> None:
            async with aclosing(self._repository.changes()) as changes:
                async for change in changes:
                    if change.kind is ChangeKind.SYNCED:
                        arranged.set()
                    elif change.kind is ChangeKind.MODIFIED and change.deployment:
                        seen(change.deployment.resource_version)

        self._following = asyncio.create_task(following())
        await arranged.wait()

    async def stop(self) -> None:
        await self._repository.__aexit__(None, None, None)
        if self._following:
            with contextlib.suppress(asyncio.CancelledError):
                await self._following


if __name__ == "__main__":
    main(Kdm, uvloop.run)
