"""What can be asked of a kdm: the routes of API v2 as methods."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from kdm_adapters.remote.access import Access
from kdm_adapters.remote.client import BASE, TIMEOUT_S, Answer, Client, deployment_path, list_path
from kdm_adapters.remote.sse import Event
from kdm_adapters.remote.transport_errors import Misdirected
from kdm_cli.client.failures import explained
from kdm_cli.contexts import Context
from kdm_cli.exits import CommandError
from kdm_cli.targets import Target
from kdm_core.errors import ClusterUnrecognized

PAGE: Final = 500
"""How many Deployments to ask for at once."""

BULK_S: Final = 240.0
"""How long a change of many may take, in seconds: kdm begins writes for two minutes, and finishes them in one."""

Json = dict[str, Any]

_SHOWN: Final = ("namespace", "name", "replicas", "rollout")
_WRITTEN: Final = frozenset({"namespace", "name", "uid", "resourceVersion", "replicas"})
_OF_DEPLOYMENTS: Final = frozenset({"present", "added", "modified"})
"""What answers and events have at least: one that has less is not kdm's."""


class Kdm:
    """A kdm, as a context names it. Every method raises :class:`kdm_cli.exits.CommandError` where it cannot be done.

    Not for several threads at a time, but for ``abort``.

    Args:
        context: Which kdm, and who asks.
        sleep: Waits so many seconds, between attempts.

    Attributes:
        context: The context.
    """

    def __init__(self, context: Context, sleep: Callable[[float], object] = time.sleep) -> None:
        self.context = context
        self._about: Json | None = None
        with explained():
            self._client = Client(Access(*context[1:5]), sleep=sleep)

    def abort(self) -> None:
        """Break off what another thread asks; it fails at once, and so does whatever is asked later."""
        self._client.abort()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def about(self) -> Json:
        """Return which kdm it is, who asks, and what it offers."""
        if self._about is None:
            self._about = self._get(BASE, having=("features", "user", "version"))
        return self._about

    def need(self, feature: str, what: str) -> None:
        """Make sure that kdm offers something.

        Args:
            feature: Its name among the features.
            what: What it is, for a person.

        Raises:
            CommandError: It does not.
        """
        if not self.about()["features"].get(feature):
            raise CommandError(f"this kdm does not offer {what}: {feature!r} is off (kdm whoami lists what is on)")

    def get(self, target: Target) -> Json:
        """Return a Deployment."""
        return self._get(deployment_path(*target), having=_SHOWN)

    def list(self, namespace: str | None, selector: str = "", states: str = "") -> Json:
        """Return all Deployments, page after page, as one list.

        Args:
            namespace: Of which namespace; None for all.
            selector: A label selector.
            states: States of a rollout, with commas between them.
        """
        pages = list(self._pages(namespace, selector, states))
        last: Json = pages[-1]["metadata"]
        consistent = all(each["metadata"]["consistent"] for each in pages)
        return {
            "metadata": {**last, "consistent": consistent},
            "items": [item for page in pages for item in page["items"]],
        }

    def _pages(self, namespace: str | None, selector: str, states: str) -> Iterator[Json]:
        token: str | None = ""
        while token is not None:
            query = {"labelSelector": selector, "state": states, "limit": str(PAGE), "continue": token}
            page = self._get(list_path(namespace), query, having=("metadata", "items"))
            yield page
            token = page["metadata"]["continue"]

    def events(
        self, namespace: str | None, selector: str = "", states: str = "", *, patient: bool = False
    ) -> Iterator[tuple[str, Json]]:
        """Yield what happens to Deployments, over any number of connections: each event's name and data.

        ``interrupted`` comes where a connection broke, or, with ``patient``, did not come about, with the reason as
        ``why``.
        """
        query = _given({"labelSelector": selector, "state": states})
        with explained(read=True):
            for event in self._client.follow(list_path(namespace), query, patient=patient):
                broke = event.name == "interrupted"
                yield event.name, {"why": event.data.decode()} if broke else _data_of(event)

    def set(self, target: Target, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Set the desired count."""
        return self._write("PUT", deployment_path(*target, "replicas"), body, dry_run=dry_run).body

    def adjust(self, target: Target, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Change the desired count by a number."""
        self.about()  # so that the process is known that alone may be sent the same again
        return self._write("POST", deployment_path(*target, "adjust"), body, dry_run=dry_run).body

    def rollout(self, target: Target, query: Mapping[str, str], wait_s: float) -> Json:
        """Wait until the Pods have followed, or cannot; see the API's description."""
        wait = {"wait": f"{round(wait_s * 1000)}ms"} if wait_s > 0 else {}
        return self._get(deployment_path(*target, "rollout"), {**query, **wait}, wait_s, having=("outcome", "target"))

    def scale(self, body: Mapping[str, Any], *, dry_run: bool = False, plan: str = "") -> Answer:
        """Change many at once, or plan it: the answer's entity tag is the plan's."""
        self.need("bulk", "changing several Deployments at once")
        fields = {"if-match": plan} if plan else {}
        return self._write("POST", f"{BASE}/scale", body, dry_run=dry_run, fields=fields, timeout_s=BULK_S)

    def park(self, target: Target, body: Mapping[str, Any], *, restore: bool, dry_run: bool = False) -> Json:
        """Park a Deployment, or restore it."""
        self.need("parking", "parking")
        path = deployment_path(*target, "restore" if restore else "park")
        return self._write("POST", path, body, dry_run=dry_run).body

    def parked(self, namespace: str | None, park_id: str = "", selector: str = "") -> Json:
        """Return what is parked."""
        self.need("parking", "parking")
        place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        return self._get(f"{BASE}{place}/parked", {"parkId": park_id, "labelSelector": selector})

    def history(self, target: Target, since: str = "", limit: int | None = None) -> Json:
        """Return who changed the count of one Deployment, newest first."""
        self.need("history", "a history of changes")
        return self._get(deployment_path(*target, "history"), {"limit": str(limit or ""), "since": since})

    def recent(self, namespace: str | None, selector: str = "", since: str = "", limit: int | None = None) -> Json:
        """Return who changed which counts, newest first: of a namespace or of all, page after page as one."""
        self.need("history", "a history of changes")
        place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        query = {"labelSelector": selector, "since": since, "limit": str(min(limit or PAGE, PAGE))}
        items: list[Json] = []
        token: str | None = ""
        page: Json = {}
        while token is not None and (limit is None or len(items) < limit):
            page = self._get(f"{BASE}{place}/history", {**query, "continue": token})
            items += page["items"]
            token = page["continue"]
        return {**page, "items": items[:limit]}

    def health(self) -> Json:
        """Return whether kdm can answer, and how it is connected to its cluster."""
        return self._get("/api/v1/health", having=("status",))

    def _get(
        self, path: str, query: Mapping[str, str] | None = None, wait_s: float = 0.0, *, having: Iterable[str] = ()
    ) -> Json:
        with explained(read=True):
            return _having(self._client.get(path, _given(query or {}), timeout_s=TIMEOUT_S + wait_s), having)

    def _write(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any],
        *,
        dry_run: bool,
        fields: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Answer:
        query = {"dryRun": "All"} if dry_run else {}
        with explained():
            answer = self._client.call(method, path, query, body, fields=fields, timeout_s=timeout_s)
            if "items" not in answer.body and not answer.body.keys() >= _WRITTEN:
                raise ClusterUnrecognized(
                    "the answer is not kdm's; a write may have happened: read before trying again"
                )
            return answer


def _having(body: Json, members: Iterable[str]) -> Json:
    missing = [each for each in members if each not in body]
    if missing:
        raise Misdirected(f"the answer is not kdm's: it has no {missing[0]!r}; is the server's URL that of a kdm?")
    return body


def _data_of(event: Event) -> Json:
    try:
        body = json.loads(event.data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise Misdirected("what is streamed is not kdm's: it is no JSON object; is the server's URL that of a kdm?")
    return _having(body, _SHOWN) if event.name in _OF_DEPLOYMENTS else body


def _given(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value}
