"""The model API server with ConfigMaps in place of Deployments: optimistic locking, label selectors and limits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import define, field

from kdm_adapters.kubernetes.parking.config_maps import LABELS
from kdm_adapters.kubernetes.parking.records import MAX_BYTES
from unit.adapters.kubernetes.api_server import ApiServer, Reply, Request

HOME = "kdm-home"
"""The one namespace there is."""

Stored = Mapping[str, Any]


@define(eq=False)
class ConfigMapServer(ApiServer):
    """Serves the ConfigMaps of one namespace, as JSON.

    Attributes:
        stored: The ConfigMaps by name, as they are now.
        history: What happened, and the version it happened at.
    """

    stored: dict[str, Stored] = field(factory=dict)
    history: list[tuple[int, str, Stored]] = field(factory=list)
    _states: dict[int, dict[str, Stored]] = field(factory=lambda: {1: {}})
    _born: int = 0

    async def put(self, name: str, data: Mapping[str, str | None]) -> None:
        """Set keys of a ConfigMap, or remove those of None, as a person would."""
        self._put(name, data, LABELS)
        await self.notify()

    async def delete(self, name: str) -> None:
        """Delete a ConfigMap."""
        self._record("DELETED", name, self.stored[name])
        await self.notify()

    def data(self, name: str) -> Mapping[str, str]:
        """Return the keys and values of a ConfigMap."""
        found: Mapping[str, str] = self.stored[name]["data"]
        return found

    async def restore(self, version: int) -> None:
        """Restart on an earlier state, as when etcd is restored from a backup."""
        await self.stop()
        self.stored = dict(self._states[version])
        self.history = [each for each in self.history if each[0] <= version]
        self.cluster.version = version
        await self.start()

    async def answer(self, reply: Reply) -> None:
        """See the base class."""
        method, name = reply.request.method, reply.request.path.rpartition("/")[2]
        if reply.request.verb in {"watch", "list", "version"}:
            await ApiServer.answer(self, reply)
        elif method != "POST" and name not in self.stored:
            await reply.refuse(404, "NotFound", f'configmaps "{name}" not found', name=name, kind="configmaps")
        elif method == "GET":
            await self._show(reply, 200, name)
        elif method == "POST":
            await self._create(reply, json.loads(reply.request.body))
        else:
            assert reply.request.headers["content-type"] == "application/merge-patch+json"
            await self._patch(reply, name, json.loads(reply.request.body))

    async def _create(self, reply: Reply, content: Stored) -> None:
        name, namespace = content["metadata"]["name"], reply.request.path.split("/")[4]
        if namespace != HOME:
            about = {"name": namespace, "kind": "namespaces"}
            await reply.refuse(404, "NotFound", f'namespaces "{namespace}" not found', **about)
        elif name in self.stored:
            about = {"name": name, "kind": "configmaps"}
            await reply.refuse(409, "AlreadyExists", f'configmaps "{name}" already exists', **about)
        else:
            self._put(name, content["data"], content["metadata"]["labels"])
            await self._show(reply, 201, name)

    async def _patch(self, reply: Reply, name: str, patch: Stored) -> None:
        held, about = self.stored[name]["metadata"], {"name": name, "kind": "configmaps"}
        if any(held[each] != patch["metadata"][each] for each in ("resourceVersion", "uid")):
            message = f'Operation cannot be fulfilled on configmaps "{name}": the object has been modified'
            await reply.refuse(409, "Conflict", message, **about)
        elif _size(_merged(self.data(name), patch["data"])) > MAX_BYTES:
            message = f'ConfigMap "{name}" is invalid: []: Too long: may not be more than {MAX_BYTES} bytes'
            await reply.refuse(422, "Invalid", message, **about)
        else:
            self._put(name, patch["data"], patch["metadata"]["labels"])
            await self._show(reply, 200, name)

    async def _show(self, reply: Reply, code: int, name: str) -> None:
        await reply.whole(code, json.dumps(self.stored[name]).encode())
        await self.notify()

    async def _list(self, reply: Reply) -> None:
        items = [each for each in self.stored.values() if _selected(each, reply.request)]
        listed = {"kind": "ConfigMapList", "metadata": {"resourceVersion": str(self.cluster.version)}, "items": items}
        await reply.whole(200, json.dumps(listed).encode())

    def _initial(self, reply: Reply) -> Iterator[bytes]:
        return (_event("ADDED", each) for each in self.stored.values() if _selected(each, reply.request))

    def _news(self, reply: Reply) -> Iterator[tuple[int, bytes]]:
        for version, kind, item in self.history:
            if version > reply.cursor:
                yield version, _event(kind, item) if _selected(item, reply.request) else b""

    def _put(self, name: str, data: Mapping[str, str | None], labels: Mapping[str, str]) -> None:
        held = self.stored.get(name)
        if held is None:
            self._born += 1
        metadata: Stored = {"uid": f"uid-{self._born}", "labels": {}} if held is None else held["metadata"]
        metadata = {**metadata, "name": name, "namespace": HOME, "labels": {**metadata["labels"], **labels}}
        merged = _merged({} if held is None else self.data(name), data)
        item = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": merged}
        self._record("ADDED" if held is None else "MODIFIED", name, item)

    def _record(self, kind: str, name: str, item: Stored) -> None:
        self.cluster.version += 1
        item = {**item, "metadata": {**item["metadata"], "resourceVersion": str(self.cluster.version)}}
        self.stored.pop(name, None)
        if kind != "DELETED":
            self.stored[name] = item
        self.history.append((self.cluster.version, kind, item))
        self._states[self.cluster.version] = dict(self.stored)


def _merged(held: Mapping[str, str], data: Mapping[str, str | None]) -> dict[str, str]:
    return {key: value for key, value in {**held, **data}.items() if value is not None}


def _size(data: Mapping[str, str]) -> int:
    return sum(len(key) + len(value.encode()) for key, value in data.items())


def _selected(item: Stored, request: Request) -> bool:
    """Return whether a request's path and label selector select a ConfigMap."""
    labels = dict(pair.split("=") for pair in request.query.get("labelSelector", "").split(",") if pair)
    own = item["metadata"]
    return f"/namespaces/{own['namespace']}/" in request.path and bool(labels.items() <= own["labels"].items())


def _event(kind: str, item: Stored) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"
