"""What passes between the state machine, which decides, and the reflector, which acts: actions and messages."""

from __future__ import annotations

from typing import NamedTuple

from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page, Undecodable


class Wait(NamedTuple):
    """Do nothing for so many seconds."""

    seconds: float


class ListPage(NamedTuple):
    """Read a page of a list (or all of it, where ``limit`` is 0)."""

    resource_version: str
    limit: int = 0
    continue_token: str = ""

    def query(self) -> dict[str, str]:
        """Return the request's query parameters. A continuation carries no resourceVersion: its token does."""
        query = {"limit": str(self.limit)} if self.limit else {}
        if self.continue_token:
            return query | {"continue": self.continue_token}
        return query | ({"resourceVersion": self.resource_version} if self.resource_version else {})


class WatchList(NamedTuple):
    """Open a watch that begins with the present state and goes on as a watch (KEP-3157)."""

    resource_version: str
    timeout_s: int

    def query(self) -> dict[str, str]:
        """Return the request's query parameters."""
        query = WatchFrom(self.resource_version, self.timeout_s).query()
        return query | {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}


class WatchFrom(NamedTuple):
    """Open a watch of what happened after a resourceVersion."""

    resource_version: str
    timeout_s: int

    def query(self) -> dict[str, str]:
        """Return the request's query parameters."""
        query = {"watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(self.timeout_s)}
        return query | ({"resourceVersion": self.resource_version} if self.resource_version else {})


Action = Wait | ListPage | WatchList | WatchFrom


class Opened(NamedTuple):
    """The server accepted the watch."""


class Ended(NamedTuple):
    """The watch's stream ended; ``detail`` says how, where it was not in order."""

    detail: str = ""


class TimeUp(NamedTuple):
    """The deadline passed."""


Message = Opened | Event[W] | Bookmark | Undecodable | Page[W] | Failure | Ended | TimeUp
