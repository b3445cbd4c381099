"""lightkube: a list, then a watch, in a thread; it has no informer, so this is the shortest one."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from httpx2 import Timeout
from lightkube import Client, KubeConfig
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment

from benchmarks.cache.readers.measured import Reader, Seen, main


class LightkubeWatch(Reader):
    """Its objects stay dictionaries until their fields are asked for, which suits a cache well."""

    def __init__(self, kubeconfig: Path) -> None:
        self._client = Client(KubeConfig.from_file(kubeconfig), timeout=Timeout(600))
        self._cache: dict[tuple[str | None, str | None], Deployment] = {}
        self._complete = threading.Event()
        self._seen: Seen = lambda _: None

    async def start(self, objects: int) -> int:  # noqa: ARG002 - it knows itself
        threading.Thread(target=self._run, daemon=True).start()
        await asyncio.to_thread(self._complete.wait)
        return len(self._cache)

    async def follow(self, seen: Seen) -> None:
        self._seen = seen

    def _run(self) -> None:
        listed = self._client.list(Deployment, namespace="*")
        for deployment in listed:
            self._put(deployment)
        self._complete.set()
        version = listed.resourceVersion
        for kind, deployment in self._client.watch(Deployment, namespace="*", resource_version=version):
            if kind == "DELETED":
                self._cache.pop(_key(deployment), None)
            else:
                self._put(deployment)
                self._seen(_metadata(deployment).resourceVersion or "")

    def _put(self, deployment: Deployment) -> None:
        self._cache[_key(deployment)] = deployment


def _key(deployment: Deployment) -> tuple[str | None, str | None]:
    metadata = _metadata(deployment)
    return metadata.namespace, metadata.name


def _metadata(deployment: Deployment) -> ObjectMeta:
    assert deployment.metadata
    return deployment.metadata


if __name__ == "__main__":
    main(LightkubeWatch)
