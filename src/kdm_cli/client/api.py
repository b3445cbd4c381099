"""What can be asked of a kdm: the routes of API v2 as methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from kdm_cli.client.connection import Answer, Connection
from kdm_cli.client.writes import write
from kdm_cli.contexts import Context
from kdm_cli.exits import CommandError
from kdm_cli.targets import Target

BASE: Final = "/api/v2"

PAGE: Final = 500
"""How many Deployments to ask for at once."""

Json = dict[str, Any]


class Kdm:
    """A kdm, as a context names it. Every method raises :class:`kdm_cli.exits.CommandError` where it cannot be done.

    Args:
        context: Which kdm, and who asks.

    Attributes:
        context: The context.
        connection: The connection that all calls share.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.connection = Connection(context)
        self._about: Json | None = None

    def about(self) -> Json:
        """Return which kdm it is, who asks, and what it offers."""
        if self._about is None:
            self._about = dict(self.connection.call("GET", BASE).body)
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
        return dict(self.connection.call("GET", path_of(target)).body)

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
            page: Json = self.connection.call("GET", list_path(namespace), query).body
            yield page
            token = page["metadata"]["continue"]

    def set(self, target: Target, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Set the desired count. Twice the same comes to the same."""
        path = f"{path_of(target)}/replicas"
        return dict(write(self.connection, "PUT", path, _dry(dry_run), body, repeatable=True).body)

    def adjust(self, target: Target, body: Mapping[str, Any], *, dry_run: bool = False) -> Json:
        """Change the desired count by a number."""
        if not self.connection.process:
            self.about()  # so that a lost answer can be asked for again, of the same process
        path = f"{path_of(target)}/adjust"
        return dict(write(self.connection, "POST", path, _dry(dry_run), body, repeatable=dry_run).body)

    def rollout(self, target: Target, query: Mapping[str, str], wait_s: float) -> Json:
        """Wait until the Pods have followed, or cannot; see the API's description."""
        wait = {"wait": f"{round(wait_s * 1000)}ms"} if wait_s > 0 else {}
        path = f"{path_of(target)}/rollout"
        return dict(self.connection.call("GET", path, {**query, **wait}, wait_s=wait_s).body)

    def scale(self, body: Mapping[str, Any], *, dry_run: bool = False, plan: str = "") -> Answer:
        """Change many at once, or plan it: the answer's entity tag is the plan's."""
        self.need("bulk", "changing several Deployments at once")
        headers = {"If-Match": plan} if plan else None
        return write(
            self.connection,
            "POST",
            f"{BASE}/scale",
            _dry(dry_run),
            body,
            repeatable=dry_run or bool(plan),
            headers=headers,
        )

    def park(self, target: Target, body: Mapping[str, Any], *, restore: bool, dry_run: bool = False) -> Json:
        """Park a Deployment, or restore it. Twice the same comes to the same."""
        self.need("parking", "parking")
        path = f"{path_of(target)}/{'restore' if restore else 'park'}"
        return dict(write(self.connection, "POST", path, _dry(dry_run), body, repeatable=True).body)

    def parked(self, namespace: str | None, park_id: str = "", selector: str = "") -> Json:
        """Return what is parked."""
        self.need("parking", "parking")
        place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        query = {"parkId": park_id, "labelSelector": selector}
        return dict(self.connection.call("GET", f"{BASE}{place}/parked", query).body)

    def history(self, target: Target | None, limit: int | None = None, since: str = "") -> Json:
        """Return who changed what, newest first: of one Deployment, or of all."""
        self.need("history", "a history of changes")
        path = f"{path_of(target)}/history" if target else f"{BASE}/history"
        query = {"limit": str(limit) if limit else "", "since": since}
        return dict(self.connection.call("GET", path, query).body)

    def health(self) -> Json:
        """Return whether kdm can answer, and how it is connected to its cluster."""
        return dict(self.connection.call("GET", "/api/v1/health").body)


def path_of(target: Target) -> str:
    """Return the path of a Deployment."""
    return f"{BASE}/namespaces/{quote(target.namespace, safe='')}/deployments/{quote(target.name, safe='')}"


def list_path(namespace: str | None) -> str:
    """Return the path of the Deployments of a namespace, or of all."""
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{BASE}{place}/deployments"


def _dry(dry_run: bool) -> dict[str, str | None]:
    return {"dryRun": "All" if dry_run else None}
