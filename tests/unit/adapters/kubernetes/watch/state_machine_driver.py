"""Drives a watch state in place of the reflector, with a clock that tests move."""
# ruff: noqa: ARG002 - an instrument is told more than a test looks at

from __future__ import annotations

from random import Random
from typing import TypeVar

from kdm_adapters.cache.own_writes import Before
from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.watch.actions import (
    Action,
    Ended,
    ListPage,
    Message,
    Opened,
    TimeUp,
    Wait,
    WatchFrom,
    WatchList,
)
from kdm_adapters.kubernetes.watch.state_machine import WatchState
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page
from kdm_core.model import ChangeKind, Deployment
from kdm_core.ports import WatchInstrument

A = TypeVar("A", bound=Action)

LISTS = Tuning(watch_list=False)

REFUSED = Failure(0, "Unreachable", "connection refused")
THROTTLED = Failure(429, "TooManyRequests", "too many requests")
EXPIRED = Failure(410, "Expired", "too old resource version")
TOO_LARGE = Failure(
    504, "Timeout", "Too large resource version: 10, current: 5", (("ResourceVersionTooLarge", "Too large"),)
)
INTERNAL = Failure(500, "InternalError", "boom")


class Recorder(WatchInstrument):
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.lists: list[tuple[str, str]] = []
        self.ends: list[str] = []
        self.backoffs_s: list[float] = []
        self.undecodable = 0
        self.events: list[str] = []

    def listed(self, source: str, mode: str, reason: str, seconds: float) -> None:
        self.lists.append((mode, reason))

    def watch_ended(self, source: str, reason: str) -> None:
        self.ends.append(reason)

    def backed_off(self, source: str, seconds: float) -> None:
        self.backoffs_s.append(seconds)

    def event_undecodable(self, source: str) -> None:
        self.undecodable += 1

    def watch_event(self, source: str, kind: str) -> None:
        self.events.append(kind)


class Driver:
    """A watch state, its store, its clock, and what they told."""

    def __init__(self, tuning: Tuning | None = None, namespace: str | None = None, seed: int = 7) -> None:
        self.now = 1000.0
        self.told = Recorder()
        self.changes: list[tuple[ChangeKind, str]] = []
        self.store = Store()
        self.store.on_change = lambda kind, d: self.changes.append((kind, d.ref.name))
        self.state = WatchState(self.store, namespace, tuning=tuning, instrument=self.told, rng=Random(seed))  # noqa: S311

    def next(self, kind: type[A]) -> A:
        """Return the watch state's next action, which has to be of this kind."""
        action = self.state.next_action(self.now)
        assert isinstance(action, kind), action
        return action

    def apply(self, *messages: Message) -> None:
        for message in messages:
            self.state.apply(message, self.now)

    def write(self, written: Deployment, before: Before | None = None) -> None:
        """Answer a write that was sent just now, or when this was known."""
        self.state.overlay(written, before or self.state.before(written.ref), self.now)

    def prove(self, version: int | str | None = None) -> None:
        """Tell the cluster's newest version, which the watch state has to want to know: by default the one it holds."""
        assert self.state.unproven
        self.state.newest(str(version or self.state.unproven), self.state.unproven, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def wait_out(self) -> float:
        """Sleep as the watch state asks, which it has to."""
        seconds = self.next(Wait).seconds
        self.now += seconds
        return seconds

    def wait_out_if_asked(self) -> None:
        """Sleep, if the watch state asks for it."""
        if isinstance(self.state.next_action(self.now), Wait):
            self.wait_out()

    def time_up(self) -> None:
        """Let the watch state's deadline pass with nothing happening."""
        self.now = self.state.deadline
        self.apply(TimeUp())

    def listed(self, *deployments: Deployment, rv: int | str) -> Driver:
        """Answer one list in full."""
        self.next(ListPage)
        self.apply(Page(deployments, str(rv)))
        return self

    def watching(self, *deployments: Deployment, rv: int | str) -> Driver:
        """Bring the watch state from its start to an open watch, by lists or watch-lists as it wants."""
        action = self.state.next_action(self.now)
        if isinstance(action, WatchList):
            self.apply(Opened(), *(Event("ADDED", each) for each in deployments), Bookmark(str(rv), True))
        else:
            self.apply(Page(deployments, str(rv)))
            self.next(WatchFrom)
            self.apply(Opened())
        assert self.state.connected
        return self

    def ended_in_order(self, after_s: float = 300.0) -> None:
        self.pass_time(after_s)
        self.apply(Ended())

    def streaming(self) -> bool:
        """Whether the request under way is still wanted."""
        return self.state.streaming

    def synced(self) -> bool:
        """Whether a complete state is published."""
        return self.state.synced

    @property
    def held(self) -> dict[str, str]:
        """Name and resourceVersion of what is published."""
        return {d.ref.name: d.resource_version for d in self.store.list()}
