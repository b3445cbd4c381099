"""Whatever happens to a watch state, and in whichever order, it equals the cluster once things have settled.

How many steps that takes is the hypothesis profile's business: some thousands in "ci", 120,000 in "nightly".
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kdm_adapters.cache.own_writes import Before, written_over
from kdm_adapters.cache.store import Store
from kdm_adapters.kubernetes.watch.actions import Ended, ListPage, Opened, TimeUp, Wait, WatchFrom, WatchList
from kdm_adapters.kubernetes.watch.state_machine import WatchState
from kdm_adapters.kubernetes.watch.tuning import Tuning
from kdm_adapters.kubernetes.wire.messages import Bookmark, Event, Failure, Page, Undecodable
from kdm_core.model import ChangeKind, Deployment, DeploymentRef
from unit.adapters.kubernetes.cluster_model import ClusterModel
from unit.adapters.kubernetes.objects import NAMESPACE
from unit.adapters.kubernetes.watch.state_machine_driver import (
    EXPIRED,
    INTERNAL,
    REFUSED,
    THROTTLED,
    TOO_LARGE,
    Recorder,
)

PAGE_SIZE = 3


class Listened(Recorder):
    """Notes that a state was published: whatever had been restored before has been noticed."""

    def __init__(self, machine: WatchStateAgainstCluster) -> None:
        super().__init__()
        self._machine = machine

    def listed(self, source: str, mode: str, reason: str, seconds: float) -> None:
        super().listed(source, mode, reason, seconds)
        self._machine.lost = None


names = st.sampled_from(["a", "b", "c", "d", "e"])
counts = st.integers(0, 4)
failures = st.sampled_from([EXPIRED, INTERNAL, REFUSED, THROTTLED, TOO_LARGE, Failure(403, "Forbidden", "no")])


class WatchStateAgainstCluster(RuleBasedStateMachine):
    """A server that lists and watches a model cluster, with faults, for one watch state."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = ClusterModel()
        self.now = 0.0
        self.store = Store()
        self.store.on_change = self.on_change
        self.store.on_observed = self.on_observed
        self.mirror: dict[str, Deployment] = {}
        self.observed: dict[str, Deployment | None] = {}  # as whoever follows single Deployments knows it
        self.promised: dict[str, tuple[str, int]] = {}  # by uid: the name, and the version a write returned
        self.answers: list[tuple[Deployment, Before]] = []  # of writes, still on their way
        self.lost: int | None = (
            None  # the version the cluster had reached before it was restored, until that is noticed
        )
        self.ever_poisoned: set[str] = set()
        self.poison: dict[str, int] = {}  # by name: the version that cannot be understood
        self.cursor: int | None = None  # of the stream that is open
        self.initial: list[Deployment] | None = None  # what the stream has to tell before its bookmark
        self.page: tuple[int, int] | None = None  # version and offset of the continue token handed out
        self.futile = 0

    @initialize(watch_list=st.booleans(), seed=st.integers(0, 99))
    def start(self, watch_list: bool, seed: int) -> None:
        tuning = Tuning(watch_list=watch_list, page_size=PAGE_SIZE)
        self.state = WatchState(self.store, tuning=tuning, rng=Random(seed), instrument=Listened(self))  # noqa: S311

    def on_change(self, kind: ChangeKind, changed: Deployment) -> None:
        name = changed.ref.name
        before = self.mirror.get(name)
        if kind is ChangeKind.ADDED:
            assert before is None
        else:
            assert before is not None
            assert before.uid == changed.uid
            went_back = int(changed.resource_version) < int(before.resource_version)
            # What could not be understood when all was read again stayed as it was held, until it can be.
            assert not went_back or self.lost is not None or name in self.ever_poisoned, "it went back"
        if kind is ChangeKind.DELETED:
            del self.mirror[name]
        else:
            self.mirror[name] = changed
        self.on_observed(changed.ref)

    def on_observed(self, ref: DeploymentRef) -> None:
        self.observed[ref.name] = self.state.published.observed(ref.namespace, ref.name)

    # The cluster changes

    @rule(ago=st.integers(1, 4))
    def restore(self, ago: int) -> None:
        """Restore the cluster from a backup, under a watch state that had seen more. Its API server begins anew."""
        held = int(self.state.resource_version or 0)
        if self.lost is not None or held <= 2 or not self.state.synced:
            return
        self.lost = self.cluster.version
        self.cluster.restore(max(self.cluster.oldest, held - ago))
        if self.cluster.version >= held:
            self.lost = None
            return
        self.answers.clear()
        self.promised.clear()
        self.page = None
        if self.state.streaming:
            self.fail(REFUSED)

    def before_change(self) -> None:
        """Let it be noticed that the cluster went back before versions pass what is held: then nobody could."""
        for _ in range(100):
            if self.lost is None or self.cluster.version + 2 < int(self.state.resource_version):
                return
            self.step()
        raise AssertionError("it does not notice")

    def step(self) -> None:
        """Do the next thing without faults."""
        if self.cursor is None:
            self.now += self.serve_waiting()
            return
        self.send_all()
        self.tell_newest()
        self.now = max(self.now, self.state.deadline)
        self.apply(TimeUp())

    def send_all(self) -> None:
        """Send what the open stream has to tell, without faults."""
        while self.cursor is not None and self.send_next(1, readable=True):
            pass

    @rule()
    def tell_newest(self) -> None:
        """Answer what the watch state wants to know beside its watch."""
        if unproven := self.state.unproven:
            self.state.newest(str(self.cluster.version), unproven, self.now)

    @rule(name=names)
    def create(self, name: str) -> None:
        self.before_change()
        self.cluster.create(name)

    @rule(name=names, desired=counts)
    def modify(self, name: str, desired: int) -> None:
        self.before_change()
        self.cluster.scale(name, desired)

    @rule(name=names)
    def delete(self, name: str) -> None:
        self.before_change()
        self.cluster.delete(name)

    @rule()
    def expire(self) -> None:
        self.cluster.compact()

    @rule(name=names)
    def poison_it(self, name: str) -> None:
        """Make a Deployment's present version one that cannot be understood."""
        self.before_change()
        self.cluster.create(name)
        self.poison[name] = self.cluster.version
        self.ever_poisoned.add(name)

    # Writes

    @rule(name=names, desired=counts, late=st.booleans())
    def write(self, name: str, desired: int, late: bool) -> None:
        self.before_change()
        held = self.store.get(NAMESPACE, name)
        before = self.state.before(DeploymentRef(NAMESPACE, name))
        stored = self.cluster.scale(name, desired)
        if stored is None:
            return
        if held is None or held.uid != stored.uid:
            held = stored
        answer = written_over(held, stored.resource_version, desired)
        if late:
            self.answers.append((answer, before))
        else:
            self.receive(answer, before)

    @precondition(lambda self: self.answers)
    @rule(overtaken=st.booleans())
    def late_answer(self, overtaken: bool) -> None:
        """The answer to a write arrives late, perhaps after the Deployment was deleted and the watch told so."""
        answer, before = self.answers.pop(0)
        if overtaken:
            self.before_change()
            self.cluster.delete(answer.ref.name)
            self.send_all()
        self.receive(answer, before)

    def receive(self, answer: Deployment, before: Before) -> None:
        self.state.overlay(answer, before, self.now)
        self.promised[answer.uid] = (answer.ref.name, int(answer.resource_version))

    # The server serves

    @rule(behind=st.integers(0, 3))
    def serve(self, behind: int) -> None:
        """Do one thing that is asked for, as a healthy server would (which may be behind where it is let)."""
        action = self.next_action()
        if action is None:
            return
        self.futile = 0
        if isinstance(action, ListPage):
            self.serve_list(action, behind)
            return
        asked = int(action.resource_version or 0)
        if isinstance(action, WatchList):
            if self.ahead(action.resource_version):
                return
            version = self.version_for(action.resource_version, behind)
            self.initial, self.cursor = list(self.cluster.states[version].values()), version
        elif asked < self.cluster.floor and asked < self.cluster.version:
            self.fail(EXPIRED)
            return
        else:
            self.cursor = asked
        self.apply(Opened())

    @rule(failure=failures)
    def serve_badly(self, failure: Failure) -> None:
        """Fail what the watch state asks for. Failing again and again, it has to wait after a few attempts."""
        if self.next_action() is not None:
            self.fail(failure)
            self.futile += 1
            assert self.futile < 8, "a busy loop"

    @precondition(lambda self: self.cursor is not None)
    @rule(times=st.integers(1, 2), readable=st.booleans())
    def deliver(self, times: int, readable: bool) -> None:
        """Send the next event of the open stream, perhaps twice; a poisoned one perhaps without a version."""
        self.send_next(times, readable=readable)

    @precondition(lambda self: self.cursor is not None and self.initial is None)
    @rule()
    def bookmark(self) -> None:
        assert self.cursor is not None
        if self.cursor > self.cluster.version:
            return  # a server sends nothing before it has come as far as it was asked for
        if not any(self.cluster.after(self.cursor)):
            self.cursor = self.cluster.version
        self.apply(Bookmark(str(self.cursor)))

    @precondition(lambda self: self.cursor is not None)
    @rule(after_s=st.sampled_from([0.1, 30.0]), detail=st.sampled_from(["", "connection reset"]))
    def drop(self, after_s: float, detail: str) -> None:
        self.now += after_s
        self.apply(Ended(detail))

    @precondition(lambda self: self.cursor is not None)
    @rule(failure=failures)
    def error_event(self, failure: Failure) -> None:
        self.fail(failure)

    @precondition(lambda self: self.cursor is not None)
    @rule()
    def silence(self) -> None:
        self.now = max(self.now, self.state.deadline)
        self.apply(TimeUp())

    @rule()
    def settle(self) -> None:
        """Serve without faults until nothing is left to be told: then the watch state equals the cluster."""
        self.answers.clear()
        self.poison.clear()
        for _ in range(300):
            if self.cursor is None:
                self.now += self.serve_waiting()
                continue
            self.send_all()
            self.tell_newest()
            if self.shows_the_cluster():
                break
            self.now = max(self.now, self.state.deadline)
            self.apply(TimeUp())
        assert {d.ref.name: d for d in self.store.list()} == self.cluster.state
        assert self.state.synced
        assert self.state.resource_version == str(self.cluster.version)

    def shows_the_cluster(self) -> bool:
        if self.cursor is not None and self.cursor <= self.cluster.version:
            self.apply(Bookmark(str(self.cluster.version)))
        shown = {d.ref.name: d for d in self.store.list()}
        return shown == self.cluster.state and self.state.connected and self.lost is None

    def teardown(self) -> None:
        if hasattr(self, "state"):
            self.settle()

    # What always holds

    @invariant()
    def subscribers_see_what_readers_see(self) -> None:
        listed = self.store.list()
        assert {d.ref.name: d for d in listed} == self.mirror
        assert [d.ref.name for d in listed] == sorted(self.mirror)
        assert len(self.store) == len(listed)
        assert all(self.store.find(d.ref.name) == (d,) for d in listed)

    @invariant()
    def followers_of_one_know_what_the_cluster_said_of_it(self) -> None:
        """And that is never newer than what the source has seen: an own write is not."""
        seen = int(self.state.resource_version or 0)
        for name, known in self.observed.items():
            assert self.state.published.observed(NAMESPACE, name) == known, "nobody was called"
            if known is not None and self.lost is None and name not in self.ever_poisoned:
                assert int(known.resource_version) <= seen

    @invariant()
    def there_are_no_ghosts(self) -> None:
        for held in self.mirror.values() if self.lost is None else ():
            ended_at = self.cluster.ended.get(held.uid)
            assert ended_at is None or int(self.state.resource_version or 0) < ended_at, "a deletion was undone"

    @invariant()
    def writes_stay_visible(self) -> None:
        for uid, (name, version) in self.promised.items():
            held = self.store.get(NAMESPACE, name)
            if held is None or held.uid != uid:
                unseen = held is None and name in self.poison  # what was never understood cannot be shown
                assert unseen or uid in self.cluster.ended, "a write got lost"
            else:
                assert int(held.resource_version) >= version, "a write was taken back"

    # How

    def next_action(self) -> ListPage | WatchList | WatchFrom | None:
        if self.cursor is not None:
            return None
        action = self.state.next_action(self.now)
        if isinstance(action, Wait):
            self.now += action.seconds
            self.futile = 0
            return None
        return action

    def apply(self, message: Opened | Bookmark | Event | Undecodable | Ended | TimeUp | Failure | Page) -> None:
        self.state.apply(message, self.now)
        if not self.state.streaming:
            self.cursor = self.initial = None

    def fail(self, failure: Failure) -> None:
        self.page = None
        self.apply(failure)
        self.cursor = self.initial = None

    def ahead(self, asked: str) -> bool:
        """Refuse to go on where more is asked for than there is."""
        if asked and int(asked) > self.cluster.version:
            self.fail(TOO_LARGE)
            return True
        return False

    def version_for(self, asked: str, behind: int) -> int:
        if asked == "":
            return self.cluster.version
        return max(self.cluster.oldest, int(asked), self.cluster.version - behind)

    def serve_waiting(self) -> float:
        action = self.state.next_action(self.now)
        if isinstance(action, Wait):
            return action.seconds
        self.serve(0)
        return 0.0

    def serve_list(self, action: ListPage, behind: int) -> None:
        if action.continue_token:
            assert self.page is not None
            version, offset = self.page
            if version < self.cluster.floor:
                self.fail(EXPIRED)
                return
        elif self.ahead(action.resource_version):
            return
        else:
            version, offset = self.version_for(action.resource_version, behind), 0
        items = list(self.cluster.states[version].values())
        end = offset + action.limit if action.limit else len(items)
        more = end < len(items)
        self.page = (version, end) if more else None
        good, bad = self.sorted_out(items[offset:end])
        self.apply(Page(good, str(version), "more" if more else "", bad))

    def sorted_out(self, items: Sequence[Deployment]) -> tuple[list[Deployment], list[Undecodable]]:
        bad = [d for d in items if self.is_poison(d)]
        return [d for d in items if not self.is_poison(d)], [
            Undecodable("poison", d.resource_version, NAMESPACE, d.ref.name, d.uid) for d in bad
        ]

    def is_poison(self, item: Deployment) -> bool:
        return self.poison.get(item.ref.name) == int(item.resource_version)

    def send_next(self, times: int, *, readable: bool) -> bool:
        """Send what the open stream has to tell next. Returns whether there was something."""
        assert self.cursor is not None
        if self.initial is not None:
            if self.initial:
                self.send(Event("ADDED", self.initial.pop()), times, readable=readable)
            else:
                self.initial = None
                self.apply(Bookmark(str(self.cursor), True))
            return self.cursor is not None
        following = next(self.cluster.after(self.cursor), None)
        if following is None:
            return False
        self.cursor, event = following
        self.send(event, times, readable=readable)
        return self.cursor is not None

    def send(self, event: Event, times: int, *, readable: bool) -> None:
        item = event.deployment
        poisoned = self.is_poison(item)
        for _ in range(times):
            if poisoned and readable:
                self.apply(Undecodable("poison", item.resource_version, NAMESPACE, item.ref.name, item.uid))
            elif poisoned:
                self.apply(Undecodable("poison"))
            else:
                self.apply(event)


TestWatchStateAgainstCluster = WatchStateAgainstCluster.TestCase
