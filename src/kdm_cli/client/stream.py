"""The stream of what happens to Deployments, as server-sent events; and what they leave, held up to date."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from typing import Any, Final, NamedTuple

from kdm_cli.client.connection import Connection
from kdm_cli.targets import Target

SILENCE_S: Final = 30.0
"""A stream on which nothing comes for this long is broken, in seconds: kdm sends a comment every 15 s."""

Body = dict[str, Any]


class Event(NamedTuple):
    """What one event says.

    Attributes:
        kind: ``present``, ``synced``, ``added``, ``modified``, ``deleted``, ``bookmark`` and so on.
        id: Where it stands in the stream; None where it says nothing of that.
        data: Its data.
    """

    kind: str
    id: str | None
    data: Body


def read(connection: Connection, path: str, query: Mapping[str, str | None], last_id: str = "") -> Iterator[Event]:
    """Open a stream and yield its events until it ends.

    Args:
        connection: To which kdm.
        path: The path of the list.
        query: The filters.
        last_id: Of the last event that was seen; "" to begin with the present state.

    Raises:
        CommandError: As a call does.
    """
    headers = {"Accept": "text/event-stream"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    response = connection.send("GET", path, {**query, "watch": "true"}, headers=headers)
    if response.status >= 400:
        connection.content(response)
        return
    connection.expect_within(SILENCE_S)
    try:
        yield from parsed(iter(response.readline, b""))
    except (OSError, HTTPException, ValueError) as error:
        raise connection.lost(error) from error
    finally:
        connection.close()


def parsed(lines: Iterable[bytes]) -> Iterator[Event]:
    """Yield the events that lines form (HTML, "9.2.6 Interpreting an event stream"). One that is cut off is none."""
    kind, identifier, data = "", None, ""
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield Event(kind, identifier, json.loads(data))
            kind, identifier, data = "", None, ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            identifier = value
        elif name == "data":
            data += value


def target_of(body: Mapping[str, Any]) -> Target:
    """Return which Deployment a body is of."""
    return Target(body["namespace"], body["name"])


class Mirror:
    """The Deployments that a stream has shown, up to its last event.

    Attributes:
        held: The Deployments.
        last_id: Where to go on after a connection that broke; "" to begin again.
        complete: Whether the whole present state has been seen once.
    """

    def __init__(self) -> None:
        self.held: dict[Target, Body] = {}
        self.last_id = ""
        self.complete = False
        self._coming: dict[Target, Body] | None = {}

    def apply(self, event: Event) -> list[tuple[str, Body]]:
        """Take an event in.

        Returns:
            What changed by it: ``present`` for the first state, else ``added``, ``modified`` or ``deleted``, and the
            Deployment. A state that comes again as a whole is compared with what was held.
        """
        if event.id is not None:
            self.last_id = event.id
        if event.kind == "reset":
            self._coming, self.last_id = {}, ""
        elif event.kind == "present":
            if self._coming is None:  # a state as a whole that nobody announced
                self._coming = {}
            self._coming[target_of(event.data)] = event.data
        elif event.kind == "synced":
            return self._synced()
        elif event.kind in {"added", "modified", "deleted"}:
            return self._changed(event)
        return []

    def connect_again(self) -> None:
        """Get ready for another connection: a state that was cut off half-way comes again as a whole."""
        if self._coming is not None:
            self._coming, self.last_id = {}, ""

    def _synced(self) -> list[tuple[str, Body]]:
        fresh, before = self._coming or {}, self.held
        self.held, self._coming = fresh, None
        if not self.complete:
            self.complete = True
            return [("present", body) for body in fresh.values()]
        gone = [("deleted", body) for target, body in before.items() if target not in fresh]
        changed = [
            ("modified" if target in before else "added", body)
            for target, body in fresh.items()
            if before.get(target) != body
        ]
        return gone + changed

    def _changed(self, event: Event) -> list[tuple[str, Body]]:
        target = target_of(event.data)
        if event.kind == "deleted":
            self.held.pop(target, None)
        else:
            self.held[target] = event.data
        return [(event.kind, event.data)]
