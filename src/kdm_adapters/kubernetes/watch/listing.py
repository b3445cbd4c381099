"""How to read the complete state, and what has been read of it so far."""

from __future__ import annotations

from typing import Generic

from kdm_adapters.cache.store import ObjectStore
from kdm_adapters.cache.watched import W
from kdm_adapters.kubernetes.watch.actions import ListPage
from kdm_adapters.kubernetes.watch.staging import Staging
from kdm_adapters.kubernetes.wire.messages import Page


class Listing(Generic[W]):
    """The list or watch-list that is under way or comes next.

    Args:
        store: What is published; staged objects are shared with it.
        page_size: Objects a page.

    Attributes:
        reason: Why everything is read.
        newest: Whether to ask for the newest state: the server does not have the version that was seen.
        asked: The resourceVersion that was asked for, "" for the newest state.
        resource_version: That of the pages read so far.
        staging: What has been read, None where nothing is being read.
        started_at: When reading began, over all attempts, in seconds; None before.
    """

    def __init__(self, store: ObjectStore[W], page_size: int) -> None:
        self.reason = ""
        self.newest = False
        self.asked = ""
        self.resource_version = ""
        self.staging: Staging[W] | None = None
        self.started_at: float | None = None
        self._store = store
        self._page_size = page_size
        self._continue = ""
        self._full = False

    @property
    def on_later_page(self) -> bool:
        """Whether a page has been read and another follows."""
        return bool(self._continue)

    def restart(self, reason: str) -> None:
        """Start over, for this reason; "" for the same one."""
        self.again()
        self.reason, self._full = reason or self.reason, False

    def again(self, *, full: bool = False) -> None:
        """Drop what was read. The next attempt asks the same, without a limit if ``full``."""
        self._continue, self.staging = "", None
        self._full = self._full or full

    def begin(self, resource_version: str) -> None:
        """Begin an attempt, at least as new as this version."""
        self.staging = Staging(self._store)
        self.asked = "" if self.newest else resource_version

    def first_page(self) -> ListPage:
        """Return the request for the first page."""
        # With a version (but "0") and no limit the server answers from its watch cache; with a limit, from etcd.
        unlimited = self._full or self.asked not in {"", "0"}
        return ListPage(self.asked, 0 if unlimited else self._page_size)

    def next_page(self) -> ListPage:
        """Return the request for the page after the last one read."""
        return ListPage("", self._page_size, self._continue)

    def take(self, page: Page[W]) -> None:
        """Take in a page, or a part of one."""
        if not self._continue:
            self.resource_version = page.resource_version
        if self.staging is not None:
            for each in page.deployments:
                self.staging.put(each)
            self.staging.keep(page.undecodable)
        if page.last:
            self._continue = page.continue_token

    def finish(self, now: float) -> float:
        """Note that the state is published. Returns how long it took, in seconds."""
        took_s = now - (self.started_at or now)
        self.started_at, self.staging = None, None
        self.newest = self._full = False
        return took_s
