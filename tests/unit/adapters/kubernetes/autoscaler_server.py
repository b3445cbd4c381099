"""The model API server with HorizontalPodAutoscalers beside its Deployments."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from kdm_adapters.kubernetes.wire.messages import INITIAL_EVENTS_END
from kdm_core.model import DeploymentRef
from kdm_core.owners import Owner
from unit.adapters.kubernetes.api_server import ApiServer, Reply
from unit.adapters.kubernetes.owned import Autoscalers, autoscaler

_KIND = "HorizontalPodAutoscaler"


@define(eq=False)
class AutoscalerServer(ApiServer):
    """Serves autoscalers, too. Their versions count for themselves.

    Attributes:
        autoscalers: Those there are.
        autoscaler_watches: The watches of them that are open.
    """

    autoscalers: Autoscalers = field(factory=dict)
    autoscaler_watches: list[Reply] = field(factory=list)
    _born: dict[DeploymentRef, int] = field(factory=dict)
    _history: list[tuple[str, DeploymentRef, dict[str, Any]]] = field(factory=list)

    async def autoscale(self, ref: DeploymentRef, target: str, owner: Owner) -> None:
        """Create an autoscaler, or replace it."""
        kind = "MODIFIED" if ref in self.autoscalers else "ADDED"
        self.autoscalers[ref] = (DeploymentRef(ref.namespace, target), owner)
        if kind == "ADDED":
            self._born[ref] = self._version
        await self._record(kind, ref, self._object(ref))

    async def end_autoscaling(self, ref: DeploymentRef) -> None:
        """Delete an autoscaler."""
        last = self._object(ref)
        del self.autoscalers[ref]
        await self._record("DELETED", ref, last)

    async def answer(self, reply: Reply) -> None:
        """See the base class."""
        if not reply.request.path.endswith("/horizontalpodautoscalers"):
            await ApiServer.answer(self, reply)
        elif reply.request.verb == "watch":
            await self._watch_autoscalers(reply)
        else:
            items = [self._object(ref) for ref in sorted(self.autoscalers) if _selects(reply, ref)]
            listed = {"kind": f"{_KIND}List", "metadata": {"resourceVersion": str(self._version)}, "items": items}
            await reply.whole(200, json.dumps(listed).encode())

    @property
    def _version(self) -> int:
        return len(self._history) + 1

    def _object(self, ref: DeploymentRef) -> dict[str, Any]:
        target, owner = self.autoscalers[ref]
        versions = {"uid": f"uid-{ref}-{self._born[ref]}", "resourceVersion": str(self._version)}
        return autoscaler(ref, target.name, owner, **versions)

    async def _record(self, kind: str, ref: DeploymentRef, changed: dict[str, Any]) -> None:
        changed["metadata"]["resourceVersion"] = str(self._version + 1)
        self._history.append((kind, ref, changed))
        await self.notify()

    async def _watch_autoscalers(self, reply: Reply) -> None:
        query = reply.request.query
        reply.cursor = int(query.get("resourceVersion", 0))
        await reply.begin()
        if "sendInitialEvents" in query:
            reply.cursor = self._version
            for ref in sorted(self.autoscalers):
                if _selects(reply, ref):
                    await _send(reply, "ADDED", self._object(ref))
            ends = {"resourceVersion": str(reply.cursor), "annotations": {INITIAL_EVENTS_END: "true"}}
            await _send(reply, "BOOKMARK", {"kind": _KIND, "metadata": ends})
        self.autoscaler_watches.append(reply)
        serving = asyncio.current_task()
        assert serving is not None
        left = asyncio.create_task(reply.reader.read(1))
        left.add_done_callback(lambda _: serving.cancel())
        try:
            while not reply.writer.is_closing():
                for kind, ref, changed in self._history[max(reply.cursor - 1, 0) :]:
                    reply.cursor = int(changed["metadata"]["resourceVersion"])
                    if _selects(reply, ref):
                        await _send(reply, kind, changed)
                async with self._happened:
                    await self._happened.wait()
        finally:
            left.cancel()
            self.autoscaler_watches.remove(reply)


def _selects(reply: Reply, ref: DeploymentRef) -> bool:
    return "/namespaces/" not in reply.request.path or f"/namespaces/{ref.namespace}/" in reply.request.path


async def _send(reply: Reply, kind: str, item: Mapping[str, Any]) -> None:
    await reply.send(json.dumps({"type": kind, "object": item}).encode() + b"\n")
