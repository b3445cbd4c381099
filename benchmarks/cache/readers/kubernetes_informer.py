"""The informer of the official Python client."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

from kubernetes import client, config
from kubernetes.informer import ADDED, MODIFIED, SharedInformer

from benchmarks.cache.readers.measured import Reader, Seen, main


class KubernetesInformer(Reader):
    """It cannot tell when it is complete: that is when it has told as many additions as there are Deployments."""

    def __init__(self, kubeconfig: Path) -> None:
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        api = client.AppsV1Api(client.ApiClient(configuration))
        self._informer: Any = SharedInformer(api.list_deployment_for_all_namespaces)  # type: ignore[no-untyped-call]

    async def start(self, objects: int) -> int:
        missing, complete = objects, threading.Event()

        def added(_: object) -> None:
            nonlocal missing
            missing -= 1
            if missing == 0:
                complete.set()

        self._informer.add_event_handler(ADDED, added)
        self._informer.start()
        await asyncio.to_thread(complete.wait)
        self._informer.remove_event_handler(ADDED, added)
        return len(self._informer.cache.list_keys())

    async def follow(self, seen: Seen) -> None:
        self._informer.add_event_handler(MODIFIED, lambda changed: seen(changed.metadata.resource_version))


if __name__ == "__main__":
    main(KubernetesInformer)
