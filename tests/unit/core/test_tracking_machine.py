"""Who changed what, whatever arrives first or never: the tracker against the cluster's own record of changes.

A cluster, its watch and the answers to writes move by themselves, each at its own pace: events and answers are late or
early, answers get lost, the watch skips what happened while it was broken, others scale too, another kdm among them.
"""

from __future__ import annotations

import itertools

from attrs import frozen
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kdm_adapters.memory import MemoryCluster
from kdm_core import Deployment, DeploymentRef
from kdm_core.history import ChangeLog, CountChange
from kdm_core.tracking import ChangeTracker
from kdm_core.tracks import OwnWrite

REFS = (DeploymentRef("shop", "web"), DeploymentRef("shop", "api"))
OWN_COUNTS = st.integers(0, 3)
"""What this kdm asks for. No other kdm asks for one of these: a lost answer's write could not be told from it."""
OTHER_COUNTS = st.integers(10, 12)
ANY_COUNT = st.one_of(OWN_COUNTS, OTHER_COUNTS)
KEPT = 1000


@frozen
class Happened:
    """A change as the cluster stored it."""

    version: str
    uid: str
    previous: int
    desired: int
    manager: str
    actor: str


@frozen(eq=False)
class Sent:
    """A write on its way: to the cluster, and back."""

    own: OwnWrite
    expected: int | None
    held: int | None
    stored: list[Deployment]


class TrackerMachine(RuleBasedStateMachine):
    """What the tracker records, against what happened."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = MemoryCluster(settle=False)
        self.now = 1000.0
        self.cluster._clock = lambda: self.now
        self.cluster.watchers.append(self._happened)
        self.tracker = ChangeTracker(ChangeLog(100 * KEPT, KEPT), clock=lambda: self.now)
        self.tracker.on_own = lambda change, after: self.reported.append((change, after))
        self.reported: list[tuple[CountChange, Deployment]] = []
        self.truth: list[Happened] = []
        self.known: dict[DeploymentRef, Deployment] = {}
        self.events: list[tuple[DeploymentRef, Deployment | None]] = []
        self.skipped: set[str] = set()
        """The versions that the watch has not shown, or only as one difference with others."""
        self.first_seen: dict[str, int] = {}
        """At which version the watch has shown an object first, by its uid."""
        self.answered: set[str] = set()
        """The versions of writes of ours that were answered."""
        self.writing = ""
        self.sent: list[Sent] = []
        self.requests = itertools.count()

    def _happened(self, ref: DeploymentRef, after: Deployment | None) -> None:
        before = self.known.pop(ref, None)
        if after is not None:
            self.known[ref] = after
            if before is not None and before.uid == after.uid and before.replicas.desired != after.replicas.desired:
                assert after.last_change is not None
                change = Happened(
                    after.resource_version,
                    after.uid,
                    before.replicas.desired,
                    after.replicas.desired,
                    after.last_change.manager,
                    self.writing,
                )
                self.truth.append(change)
        self.events.append((ref, after))

    @initialize(replicas=OWN_COUNTS)
    def begin(self, replicas: int) -> None:
        for ref in REFS:
            self.cluster.create(ref, replicas)
        self.deliver(len(self.events))

    # What happens in the cluster

    @rule(ref=st.sampled_from(REFS), replicas=ANY_COUNT)
    def somebody_scales(self, ref: DeploymentRef, replicas: int) -> None:
        if ref in self.cluster.deployments:
            self.cluster.scale(ref, replicas, manager="kubectl-scale")

    @rule(ref=st.sampled_from(REFS), replicas=OTHER_COUNTS)
    def another_kdm_scales(self, ref: DeploymentRef, replicas: int) -> None:
        if ref in self.cluster.deployments:
            self.cluster.scale(ref, replicas, manager="kdm")

    @rule(ref=st.sampled_from(REFS), kind=st.sampled_from(("spec", "status", "labels")))
    def something_else_changes(self, ref: DeploymentRef, kind: str) -> None:
        if ref in self.cluster.deployments:
            match kind:
                case "spec":
                    self.cluster.roll_out(ref)
                case "status":
                    self.cluster.report(ref, ready=len(self.truth))
                case _:
                    self.cluster.relabel(ref, {"round": str(self.cluster.version)})

    @rule(ref=st.sampled_from(REFS), replicas=ANY_COUNT)
    def it_is_replaced(self, ref: DeploymentRef, replicas: int) -> None:
        if ref in self.cluster.deployments:
            self.cluster.delete(ref)
        self.cluster.create(ref, replicas)

    @rule(ref=st.sampled_from(REFS))
    def it_is_deleted(self, ref: DeploymentRef) -> None:
        if ref in self.cluster.deployments:
            self.cluster.delete(ref)

    @rule(seconds=st.integers(0, 5))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    # What this kdm writes

    @rule(ref=st.sampled_from(REFS), replicas=OWN_COUNTS, exactly=st.booleans())
    def we_send(self, ref: DeploymentRef, replicas: int, exactly: bool) -> None:
        seen = next((track.seen for track in self.tracker.of(ref) if not track.gone), None)
        held = seen.replicas.desired if seen is not None else None
        own = self.tracker.begin(ref, replicas, actor=f"user-{replicas}", request_id=str(next(self.requests)))
        self.sent.append(Sent(own, held if exactly else None, held, []))

    @precondition(lambda self: any(not each.stored for each in self.sent))
    @rule(data=st.data())
    def the_cluster_stores_it(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from([each for each in self.sent if not each.stored]))
        held = self.cluster.deployments.get(sent.own.ref)
        if held is None or (sent.expected is not None and held.replicas.desired != sent.expected):
            self.sent.remove(sent)
            self.tracker.failed(sent.own)
            return
        self.writing = sent.own.actor
        sent.stored.append(self.cluster.scale(sent.own.ref, sent.own.desired, manager="kdm"))
        self.writing = ""

    @precondition(lambda self: any(each.stored for each in self.sent))
    @rule(data=st.data())
    def its_answer_arrives(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from([each for each in self.sent if each.stored]))
        self._answer(sent)

    def _answer(self, sent: Sent) -> None:
        self.sent.remove(sent)
        if sent.expected is not None or sent.held != sent.own.desired:
            # Of any other nobody knows whether it changed something, unless the watch shows that very version.
            self.answered.add(sent.stored[0].resource_version)
        exact = sent.expected is not None
        self.tracker.answered(sent.own, sent.stored[0], sent.expected if exact else sent.held, exact=exact)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def its_answer_is_lost(self, data: st.DataObject) -> None:
        sent = data.draw(st.sampled_from(self.sent))
        self.sent.remove(sent)
        self.tracker.lost(sent.own)

    # What the watch shows

    @precondition(lambda self: self.events)
    @rule(count=st.integers(1, 4))
    def deliver(self, count: int) -> None:
        for ref, after in self.events[:count]:
            self._show(ref, after)
        del self.events[:count]

    @precondition(lambda self: len(self.events) > 1)
    @rule()
    def read_again(self) -> None:
        """The watch was broken: what happened meanwhile arrives as one difference."""
        newest = dict(self.events)
        refs = [ref for ref, _ in self.events]
        self.skipped |= {each.resource_version for ref, each in self.events if each is not None and refs.count(ref) > 1}
        self.events.clear()
        for ref, after in newest.items():
            self._show(ref, after)

    def _show(self, ref: DeploymentRef, after: Deployment | None) -> None:
        if after is not None:
            self.first_seen.setdefault(after.uid, int(after.resource_version))
        self.tracker.observe(ref, after)

    # What must hold

    def _recorded(self, ref: DeploymentRef) -> list[CountChange]:
        return [each for track in self.tracker.of(ref) for each in track.newest_first()]

    @invariant()
    def nothing_is_recorded_twice_and_the_newest_comes_first(self) -> None:
        for ref in REFS:
            for track in self.tracker.of(ref):
                versions = [int(each.resource_version) for each in track.newest_first()]
                assert versions == sorted(set(versions), reverse=True)

    @invariant()
    def what_was_reported_was_reported_once(self) -> None:
        ids = [change.request_id for change, _ in self.reported]
        assert len(ids) == len(set(ids))

    def teardown(self) -> None:
        while self.sent:
            sent = self.sent[0]
            if sent.stored:
                self._answer(sent)
            else:
                self.sent.remove(sent)
                self.tracker.failed(sent.own)
        if self.events:
            self.deliver(len(self.events))
        assert all(track.seen is None for track in self.tracker.unconfirmed()), "only what was never shown is left open"
        for uid in {each.uid for each in self.truth}:
            self._compare(
                [each for each in self.truth if each.uid == uid and self._could_be_seen(each)],
                [each for ref in REFS for each in reversed(self._recorded(ref)) if each.uid == uid],
            )

    def _could_be_seen(self, true: Happened) -> bool:
        first = self.first_seen.get(true.uid, 2**31)
        return true.version in self.answered or int(true.version) > first

    def _compare(self, truth: list[Happened], recorded: list[CountChange]) -> None:
        """Compare what happened to one object with what was recorded of it, both the oldest first."""
        missed, place = 0, 0
        for change in recorded:
            passed = []
            while place < len(truth) and int(truth[place].version) <= int(change.resource_version):
                passed.append(truth[place])
                place += 1
            assert passed, f"it never happened: {change}"
            *missing, true = passed
            if change.gap or true.version != change.resource_version:
                assert change.resource_version not in {each.version for each in missing}
            if missing:
                missed += len(missing)
                assert change.gap, f"{missing} are missing before {change}, and it does not say so"
            assert change.desired == true.desired
            assert change.actor == true.actor, "it is owed to whom it is owed"
            assert change.manager == true.manager
            if change.previous is None:
                assert int(change.resource_version) <= self.first_seen.get(change.uid, 2**31), "nothing was seen before"
            elif not change.gap:
                assert change.previous == true.previous
            assert not any(each.version in self.answered for each in missing), "an answered write is missing"
        unseen = truth[place:]
        for each in unseen:
            assert each.version in self.skipped, f"{each} was shown, and is not recorded"
            assert each.version not in self.answered
        if not any(each.version in self.skipped for each in truth):
            assert missed == 0


TestTrackerMachine = TrackerMachine.TestCase
TestTrackerMachine.settings = settings(max_examples=60, stateful_step_count=20, deadline=None)
