"""The decision table of waiting: each row, and that no outcome contradicts what was seen."""

from __future__ import annotations

import math
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kdm_core import (
    Deployment,
    Observation,
    ReplicaStatus,
    RolloutOutcome,
    SourceStatus,
    Target,
    WaitFor,
)
from kdm_core.rollout import has_stalled, is_blocked
from kdm_core.versions import older
from kdm_core.waiting import HOLD_S, RolloutWait, Verdict
from unit.core.fixtures import WEB
from unit.core.test_rollout_states import FAILING, STALLED, deployments

W = Target("u", "5", 5)
"""The write: 5 replicas, at version 5 of the object u."""


def o(  # the counts in the order of ReplicaStatus
    desired: int = 5, current: int = 5, updated: int = 5, ready: int = 5, available: int = 5, *, version: int = 7
) -> Deployment:
    replicas = ReplicaStatus(desired, current, updated, ready, available)
    return Deployment(WEB, "u", str(version), 2, 2, replicas)


def seen(
    deployment: Deployment | None, version: int | str = 7, *, connected: bool = True, stale: bool = False
) -> Observation:
    return Observation(deployment, SourceStatus("*", True, connected, str(version), 1.0, stale))


def outcome(observation: Observation, wait_for: WaitFor = WaitFor.AVAILABLE) -> str:
    """Return what one observation leads to at once: "" for going on."""
    verdict = RolloutWait(W, wait_for).observe(observation, 0.0)
    return "" if verdict is None else verdict.outcome.value


class TestRows:
    """Each row of the table."""

    def test_row_1_gone_is_deleted(self) -> None:
        assert outcome(seen(None)) == "deleted"

    def test_row_1_another_object_of_the_name_is_deleted(self) -> None:
        verdict = RolloutWait(W).observe(seen(evolve(o(), uid="v")), 0.0)
        assert verdict is not None
        assert (verdict.outcome.value, verdict.message) == (
            "deleted",
            "the Deployment was deleted, and another one has its name",
        )

    @pytest.mark.parametrize("old", [None, o(version=4), evolve(o(version=4), uid="t"), o(3, 3, 3, 3, 3, version=4)])
    def test_row_2_what_is_older_than_the_write_says_nothing(self, old: Deployment | None) -> None:
        """Not that it is gone, nor another, nor done: the object before it, and a cache that has not seen it yet."""
        wait = RolloutWait(W)
        assert wait.observe(seen(old, 4), 0.0) is None
        assert wait.time_up(seen(old, 4), 60.0).outcome is RolloutOutcome.UNKNOWN

    def test_row_2_a_cache_that_was_never_read_says_nothing(self) -> None:
        assert outcome(seen(None, "")) == ""

    def test_row_2_versions_are_compared_as_numbers(self) -> None:
        wait = RolloutWait(Target("u", "1000", 5))
        assert wait.observe(seen(o(version=999), 999), 0.0) is None
        assert wait.observe(seen(o(version=1000), 999), 0.0) == Verdict(RolloutOutcome.DONE)

    def test_row_2_an_object_is_as_new_as_its_source_has_come(self) -> None:
        """Whoever waits from a version of something else, a list's for example, is answered when that is seen."""
        assert outcome(seen(o(version=4), 4)) == ""
        assert outcome(seen(o(version=4), 5)) == "done"

    def test_row_3_another_count_is_superseded_whatever_the_pods_do(self) -> None:
        assert outcome(seen(o(7))) == "superseded"
        assert outcome(seen(evolve(o(4, 4, 4, 4, 4), generation=3))) == "superseded"

    def test_row_3_comes_before_done(self) -> None:
        """Kubectl calls this a success."""
        assert outcome(seen(o(3, 3, 3, 3, 3))) == "superseded"

    def test_row_4_counts_of_an_older_spec_do_not_count(self) -> None:
        behind = evolve(o(), generation=3)
        assert outcome(seen(behind)) == ""
        wait = RolloutWait(W)
        assert wait.time_up(seen(behind), 60.0) == Verdict(
            RolloutOutcome.TIMEOUT, "the controller has not seen the newest spec yet"
        )

    @pytest.mark.parametrize(
        ("wait_for", "enough", "short"),
        [
            (WaitFor.SCALED, o(5, 5, 1, 0, 0), o(5, 4, 4, 4, 4)),
            (WaitFor.READY, o(5, 5, 5, 5, 0), o(5, 5, 5, 4, 4)),
            (WaitFor.READY, o(5, 5, 5, 5, 0), o(5, 5, 4, 5, 5)),
            (WaitFor.AVAILABLE, o(5, 5, 5, 5, 5), o(5, 5, 5, 5, 4)),
            (WaitFor.AVAILABLE, o(5, 5, 5, 5, 5), o(5, 5, 4, 5, 5)),
        ],
    )
    def test_row_5_done_is_what_was_waited_for(self, wait_for: WaitFor, enough: Deployment, short: Deployment) -> None:
        assert outcome(seen(enough), wait_for) == "done"
        assert outcome(seen(short), wait_for) == ""

    @pytest.mark.parametrize("wait_for", WaitFor)
    def test_row_5_from_5_to_3_is_not_done_before_two_pods_are_gone(self, wait_for: WaitFor) -> None:
        wait = RolloutWait(Target("u", "5", 3), wait_for)
        assert wait.observe(seen(o(3, 5, 5, 5, 5)), 0.0) is None
        assert wait.observe(seen(o(3, 4, 4, 4, 4)), 0.0) is None
        assert wait.observe(seen(o(3, 3, 3, 3, 3)), 0.0) == Verdict(RolloutOutcome.DONE)

    def test_row_5_to_zero(self) -> None:
        wait = RolloutWait(Target("u", "5", 0))
        assert wait.observe(seen(o(0, 1, 1, 0, 0)), 0.0) is None
        assert wait.observe(seen(o(0, 0, 0, 0, 0)), 0.0) == Verdict(RolloutOutcome.DONE)

    def test_row_5_comes_before_stalled_and_blocked(self) -> None:
        assert outcome(seen(evolve(o(), progressing=STALLED, replica_failure=FAILING))) == "done"

    def test_row_6_paused_with_all_but_the_newest_revision_is_done_with_a_warning(self) -> None:
        verdict = RolloutWait(W).observe(seen(evolve(o(5, 5, 2, 5, 5), paused=True)), 0.0)
        assert verdict is not None
        assert verdict.outcome is RolloutOutcome.DONE
        assert verdict.warnings == ("its rollouts are paused, and Pods of an older revision run",)
        assert outcome(seen(evolve(o(5, 6, 2, 5, 5), paused=True))) == ""
        assert outcome(seen(evolve(o(5, 5, 2, 5, 4), paused=True))) == ""

    def test_row_7_a_progress_deadline_that_passed_is_stalled(self) -> None:
        wait, stuck = RolloutWait(W), seen(evolve(o(5, 5, 5, 3, 3), progressing=STALLED))
        assert wait.observe(stuck, 10.0) is None
        assert wait.next_look_at == 10.0 + HOLD_S
        assert wait.observe(stuck, 14.9) is None
        assert wait.observe(stuck, 15.0) == Verdict(
            RolloutOutcome.STALLED,
            "it has timed out progressing (5 Pods desired, 5 created, 3 ready, 3 available)",
        )

    def test_row_7_a_deadline_that_passed_before_the_write_does_not_count_while_pods_come(self) -> None:
        """The condition stays until the controller sees progress; the counts see it first."""
        wait = RolloutWait(W)
        for ready in range(5):
            assert wait.observe(seen(evolve(o(5, 5, 5, ready, ready), progressing=STALLED)), ready * 4.0) is None
        assert wait.observe(seen(o()), 20.0) == Verdict(RolloutOutcome.DONE)

    def test_row_7_nothing_stalls_while_paused(self) -> None:
        wait, stuck = RolloutWait(W), seen(evolve(o(5, 5, 5, 3, 3), progressing=STALLED, paused=True))
        assert wait.observe(stuck, 0.0) is None
        assert wait.observe(stuck, 100.0) is None
        assert wait.next_look_at == math.inf

    def test_row_8_pods_that_cannot_be_created_for_five_seconds_are_blocked(self) -> None:
        wait, stuck = RolloutWait(W), seen(evolve(o(5, 3, 3, 3, 3), replica_failure=FAILING))
        assert wait.observe(stuck, 10.0) is None
        assert wait.next_look_at == 15.0
        assert wait.observe(stuck, 15.0) == Verdict(
            RolloutOutcome.BLOCKED, "exceeded quota: pods (5 Pods desired, 3 created, 3 ready, 3 available)"
        )

    def test_row_8_the_five_seconds_begin_again_when_pods_could_be_created(self) -> None:
        wait, stuck = RolloutWait(W), seen(evolve(o(5, 3, 3, 3, 3), replica_failure=FAILING))
        assert wait.observe(stuck, 10.0) is None
        assert wait.observe(seen(o(5, 4, 4, 3, 3)), 12.0) is None
        assert wait.next_look_at == math.inf
        assert wait.observe(stuck, 13.0) is None
        assert wait.observe(stuck, 17.0) is None
        assert wait.observe(stuck, 18.0) is not None

    def test_row_8_a_failure_of_an_older_spec_does_not_count(self) -> None:
        wait = RolloutWait(W)
        stuck = seen(evolve(o(5, 3, 3, 3, 3), replica_failure=FAILING, generation=3))
        assert wait.observe(stuck, 0.0) is None
        assert wait.observe(stuck, 100.0) is None

    @pytest.mark.parametrize("sign", [{"replica_failure": FAILING}, {"progressing": STALLED}])
    def test_rows_7_and_8_are_not_judged_by_a_watch_that_is_cut(self, sign: dict[str, Any]) -> None:
        wait, stuck = RolloutWait(W), evolve(o(5, 3, 3, 3, 3), **sign)
        assert wait.observe(seen(stuck), 0.0) is None
        assert wait.observe(seen(stuck, connected=False), 5.0) is None
        assert wait.next_look_at == 10.0
        assert wait.observe(seen(stuck), 9.0) is None
        assert wait.observe(seen(stuck), 10.0) is not None

    @pytest.mark.parametrize("source", [{"connected": False}, {"stale": True}])
    def test_row_9_at_the_deadline_a_cache_that_may_be_old_says_unknown(self, source: dict[str, Any]) -> None:
        verdict = RolloutWait(W).time_up(seen(o(5, 3, 3, 3, 3), **source), 60.0)
        assert verdict.outcome is RolloutOutcome.UNKNOWN

    def test_row_10_at_the_deadline_the_counts_are_told(self) -> None:
        verdict = RolloutWait(W).time_up(seen(o(5, 5, 5, 0, 0)), 60.0)
        assert verdict == Verdict(RolloutOutcome.TIMEOUT, "5 Pods desired, 5 created, 0 ready, 0 available")

    def test_row_10_a_deadline_before_the_five_seconds_names_the_reason_all_the_same(self) -> None:
        verdict = RolloutWait(W).time_up(seen(evolve(o(5, 3, 3, 3, 3), replica_failure=FAILING)), 1.0)
        assert verdict.outcome is RolloutOutcome.TIMEOUT
        assert verdict.message.startswith("exceeded quota: pods (")

    def test_a_deadline_ends_nothing_for_those_with_a_later_one(self) -> None:
        wait = RolloutWait(W)
        assert wait.time_up(seen(o(5, 3, 3, 3, 3)), 1.0).outcome is RolloutOutcome.TIMEOUT
        assert wait.observe(seen(o()), 2.0) == Verdict(RolloutOutcome.DONE)

    def test_an_outcome_is_final(self) -> None:
        wait = RolloutWait(W)
        assert wait.observe(seen(o()), 0.0) == Verdict(RolloutOutcome.DONE)
        assert wait.observe(seen(None), 1.0) == Verdict(RolloutOutcome.DONE)
        assert wait.next_look_at == math.inf


observations = st.builds(
    seen, st.none() | deployments, st.integers(1, 9) | st.just(""), connected=st.booleans(), stale=st.booleans()
)


@given(observations, st.sampled_from(WaitFor), st.integers(0, 4))
def test_the_first_row_that_fits_decides(observation: Observation, wait_for: WaitFor, desired: int) -> None:
    """The table once more, as an independent list of rows."""
    target = Target("u", "5", desired)
    found, version = observation.deployment, observation.source.resource_version
    newest = max(int(version or 0), int(found.resource_version) if found else 0)
    behind = newest < 5
    expected: str | None
    if behind:
        expected = None
    elif found is None or found.uid != "u":
        expected = "deleted"
    elif found.replicas.desired != desired:
        expected = "superseded"
    elif found.observed_generation < found.generation:
        expected = None
    else:
        counts = found.replicas
        needed = {
            WaitFor.SCALED: [counts.current],
            WaitFor.READY: [counts.current, counts.updated, counts.ready],
            WaitFor.AVAILABLE: [counts.current, counts.updated, counts.available],
        }[wait_for]
        paused = found.paused and counts.current == counts.available == desired
        expected = "done" if set(needed) == {desired} or paused else None
    verdict = RolloutWait(target, wait_for).observe(observation, 0.0)
    assert (verdict and verdict.outcome.value) == expected
    late = RolloutWait(target, wait_for).time_up(observation, 0.0)
    trusted = observation.source.connected and not observation.source.stale
    assert late.outcome.value == (expected or ("timeout" if trusted and not behind and found else "unknown"))


class Histories(RuleBasedStateMachine):
    """Any history of states: the outcome never contradicts it."""

    @initialize(wait_for=st.sampled_from(WaitFor), desired=st.integers(0, 4))
    def begin(self, wait_for: WaitFor, desired: int) -> None:
        self.wait = RolloutWait(Target("u", "5", desired), wait_for)
        self.now = 0.0
        self.history: list[tuple[float, Observation]] = []
        self.verdict: Verdict | None = None

    @rule(observation=observations)
    def change(self, observation: Observation) -> None:
        self._feed(observation)

    @precondition(lambda self: self.history)
    @rule(observation=observations, bad=st.sampled_from(["stalled", "blocked"]))
    def stuck(self, observation: Observation, bad: str) -> None:
        replicas = ReplicaStatus(self.wait.target.desired, 0, 0, 0, 0)
        held = Deployment(WEB, "u", "6", 1, 1, replicas)
        sign: dict[str, Any] = {"progressing": STALLED} if bad == "stalled" else {"replica_failure": FAILING}
        self._feed(evolve(observation, deployment=evolve(held, **sign)))

    @precondition(lambda self: self.history)
    @rule()
    def look_when_due(self) -> None:
        due = self.wait.next_look_at
        if due < math.inf:
            assert due >= self.now, "it is never due in the past"
            self.now = due
            self._feed(self.history[-1][1])

    @rule(seconds=st.floats(0, 7))
    def time_passes(self, seconds: float) -> None:
        self.now = min(self.now + seconds, max(self.now, self.wait.next_look_at))

    @precondition(lambda self: self.history)
    @rule()
    def somebody_has_a_deadline(self) -> None:
        late = self.wait.time_up(self.history[-1][1], self.now)
        self.history.append((self.now, self.history[-1][1]))
        if self.wait.verdict is None:
            assert late.outcome in {RolloutOutcome.TIMEOUT, RolloutOutcome.UNKNOWN}
        else:
            self._judge(late)

    def _feed(self, observation: Observation) -> None:
        self.history.append((self.now, observation))
        verdict = self.wait.observe(observation, self.now)
        if self.verdict is not None:
            assert verdict == self.verdict, "an outcome is final"
        elif verdict is not None:
            self._judge(verdict)

    def _judge(self, verdict: Verdict) -> None:
        if self.verdict is not None:
            assert verdict == self.verdict
            return
        self.verdict = verdict
        target, (now, last) = self.wait.target, self.history[-1]
        found = last.deployment
        match verdict.outcome:
            case RolloutOutcome.DONE:
                assert found is not None
                assert found.uid == "u"
                assert found.replicas.current == found.replicas.desired == target.desired
                assert found.observed_generation >= found.generation
            case RolloutOutcome.DELETED:
                assert found is None or found.uid != "u"
                assert not older(last.source.resource_version or "0", "5") or found is not None
            case RolloutOutcome.SUPERSEDED:
                assert found is not None
                assert found.replicas.desired != target.desired
            case RolloutOutcome.STALLED | RolloutOutcome.BLOCKED:
                is_bad = has_stalled if verdict.outcome is RolloutOutcome.STALLED else is_blocked
                for at, each in reversed(self.history):
                    assert each.deployment is not None
                    assert is_bad(each.deployment), "it held all the time"
                    assert each.source.connected
                    assert not each.source.stale
                    if at <= now - HOLD_S:
                        break
                else:
                    raise AssertionError("it had not held for long enough")
            case _:
                raise AssertionError(f"{verdict.outcome} without a deadline")

    @invariant()
    def a_wait_that_goes_on_has_no_outcome(self) -> None:
        if self.history:
            assert self.wait.verdict == self.verdict


TestHistories = Histories.TestCase
