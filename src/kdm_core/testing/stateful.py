"""Drives a repository and its cluster through random histories, against a model that is two dictionaries.

Subclass where an adapter is tested::

    class MyMachine(RepositoryStateMachine):
        def open(self) -> AbstractAsyncContextManager[RepositoryHarness]:
            return my_harness()

    TestMyMachine = MyMachine.TestCase

How many examples and steps is hypothesis' settings' business: a few are enough where each step takes a real cluster.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, ClassVar, Final, TypeVar

from attrs import evolve, frozen
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kdm_core.errors import DeploymentNotFound, OutOfBounds, WriteConflict
from kdm_core.model import Deployment, DeploymentRef
from kdm_core.scaling import ANY, Expect, ScaleBy
from kdm_core.service import DeploymentService
from kdm_core.testing.abilities import Ability
from kdm_core.testing.following import Follower
from kdm_core.testing.harness import RepositoryHarness

_T = TypeVar("_T")

_WHICH: Final = st.tuples(st.sampled_from([0, 1]), st.sampled_from(["api", "web", "web-1"]))
_REPLICAS: Final = st.integers(0, 5)
_LABELS: Final = st.dictionaries(st.sampled_from(["tier", "team"]), st.sampled_from(["a", "b"]))


@frozen
class _Stored:
    """A Deployment as the model's cluster has it. ``life`` tells objects of one name apart, ``edits`` their states."""

    life: int
    replicas: int
    labels: Mapping[str, str]
    edits: int = 0


class RepositoryStateMachine(RuleBasedStateMachine):
    """Others change the cluster, the watch breaks and heals, this repository writes: reads are always as they must be.

    Each example gets a harness of its own, on an event loop of its own that runs while a step is taken.

    Attributes:
        lacks: What the repository under test cannot do.
    """

    lacks: ClassVar[frozenset[Ability]] = frozenset()

    @abstractmethod
    def open(self) -> AbstractAsyncContextManager[RepositoryHarness]:
        """Make a harness, entered and synced."""

    def __init__(self) -> None:
        super().__init__()
        self._cluster: dict[DeploymentRef, _Stored] = {}
        self._view: dict[DeploymentRef, _Stored] = {}
        self._broken = False
        self._lives = 0
        self._uids: dict[int, str] = {}
        self._versions: dict[str, int] = {}
        self._runner = asyncio.Runner()
        self._open = AsyncExitStack()
        try:
            self._harness = self._run(self._open.enter_async_context(self.open()))
            self._service = DeploymentService(self._harness.repository)
            self._follower = Follower(self._harness.repository.changes())
            self._run(self._follower.until_synced())
        except BaseException:
            with self._runner:
                self._run(self._open.aclose())
            raise

    def teardown(self) -> None:
        """Close what was opened."""
        with self._runner:
            self._run(self._follower.aclose())
            self._run(self._open.aclose())

    @rule(which=_WHICH, replicas=_REPLICAS, labels=_LABELS)
    def others_create_or_edit(self, which: tuple[int, str], replicas: int, labels: Mapping[str, str]) -> None:
        """Another client applies a Deployment."""
        ref = self._ref(which)
        held = self._cluster.get(ref)
        if held is None:
            self._run(self._harness.seed(ref, replicas, labels=labels))
            self._lives += 1
            self._cluster[ref] = _Stored(self._lives, replicas, labels)
        else:
            self._run(self._harness.edit(ref, replicas=replicas, labels=labels))
            if (held.replicas, held.labels) != (replicas, labels):
                self._cluster[ref] = evolve(held, replicas=replicas, labels=labels, edits=held.edits + 1)
        self._settle()

    @rule(which=_WHICH)
    def others_delete(self, which: tuple[int, str]) -> None:
        """Another client deletes a Deployment."""
        ref = self._ref(which)
        if self._cluster.pop(ref, None) is not None:
            self._run(self._harness.delete(ref))
        self._settle()

    @rule(which=_WHICH, replicas=_REPLICAS)
    def scale(self, which: tuple[int, str], replicas: int) -> None:
        """The repository writes, whatever it knows."""
        ref = self._ref(which)
        if ref in self._cluster:
            self._written(ref, replicas, self._run(self._harness.repository.set_replicas(ref, replicas)))
        else:
            self._expect_not_found(ref, replicas, ANY)
        self._settle()

    @rule(which=_WHICH, replicas=_REPLICAS)
    def scale_what_was_read(self, which: tuple[int, str], replicas: int) -> None:
        """The repository writes on condition that what it reads is still so."""
        ref = self._ref(which)
        known, stored = self._view.get(ref), self._cluster.get(ref)
        if known is None:
            return
        version = self._harness.repository.get(ref).resource_version
        if stored is None:
            self._expect_not_found(ref, replicas, Expect(resource_version=version))
            return
        try:
            written = self._run(self._set(ref, replicas, Expect(resource_version=version)))
        except WriteConflict:
            # While the watch is broken, a controller may have touched it unseen.
            assert self._broken or (known.life, known.edits) != (stored.life, stored.edits), f"{ref} was up to date"
        else:
            assert (known.life, known.edits) == (stored.life, stored.edits), f"{ref} had been changed"
            self._written(ref, replicas, written)
        assert self._run(self._harness.stored_replicas(ref)) == self._cluster[ref].replicas
        self._settle()

    @precondition(lambda self: Ability.COMPARE not in self.lacks)
    @rule(which=_WHICH, expected=_REPLICAS, replicas=_REPLICAS)
    def scale_what_has_a_count(self, which: tuple[int, str], expected: int, replicas: int) -> None:
        """The repository writes on condition that the cluster has a count."""
        ref = self._ref(which)
        stored = self._cluster.get(ref)
        if stored is None:
            self._expect_not_found(ref, replicas, Expect(replicas=expected))
            return
        current: Deployment | None = None
        try:
            written = self._run(self._set(ref, replicas, Expect(replicas=expected)))
        except WriteConflict as conflict:
            current = conflict.current
            assert stored.replicas != expected, f"{ref} had that count"
        else:
            assert stored.replicas == expected, f"{ref} had another count"
            self._written(ref, replicas, written)
        assert current is None or current.replicas.desired == stored.replicas
        assert self._run(self._harness.stored_replicas(ref)) == self._cluster[ref].replicas
        self._settle()

    @precondition(lambda self: Ability.COMPARE not in self.lacks)
    @rule(which=_WHICH, delta=st.integers(-3, 3))
    def scale_by(self, which: tuple[int, str], delta: int) -> None:
        """A service over the repository writes relative to what is there."""
        ref = self._ref(which)
        stored = self._cluster.get(ref)
        try:
            scaled = self._run(self._service.set_replicas(ref, ScaleBy(delta)))
        except DeploymentNotFound:
            assert stored is None
        except OutOfBounds:
            assert stored is not None
            assert stored.replicas + delta < 0
        else:
            assert stored is not None
            assert scaled.previous == stored.replicas
            self._written(ref, stored.replicas + delta, scaled.deployment)
        self._settle()

    @precondition(lambda self: Ability.DRY_RUN not in self.lacks)
    @rule(which=_WHICH, replicas=_REPLICAS)
    def try_to_scale(self, which: tuple[int, str], replicas: int) -> None:
        """The repository tries a write."""
        ref = self._ref(which)
        try:
            tried = self._run(self._harness.repository.set_replicas(ref, replicas, dry_run=True))
        except DeploymentNotFound:
            assert ref not in self._cluster
        else:
            assert tried.replicas.desired == replicas
            assert self._run(self._harness.stored_replicas(ref)) == self._cluster[ref].replicas

    @precondition(lambda self: not self._broken)
    @rule()
    def break_watch(self) -> None:
        """From now on, what others do is not seen."""
        self._run(self._harness.break_watch())
        self._broken = True

    @precondition(lambda self: self._broken)
    @rule()
    def heal_watch(self) -> None:
        """What was missed is made up for."""
        self._run(self._harness.heal_watch())
        self._broken = False
        self._settle()

    @invariant()
    def reads_are_as_they_must_be(self) -> None:
        """Compare every read with the model."""
        harness, repository = self._harness, self._harness.repository
        listed = harness.own(repository.list())
        assert [each.ref for each in listed] == sorted(self._view)
        for each in listed:
            self._check(each, self._view[each.ref])
            assert repository.get(each.ref) == each
            assert each in repository.find(each.ref.name)
            assert each in repository.list(each.ref.namespace)
        status = repository.sync_status()
        assert (status.synced, status.connected, status.healthy) == (True, not self._broken, not self._broken)

    @invariant()
    def followers_know_what_readers_know(self) -> None:
        """Add up the changes, and compare with the reads."""
        expected = {each.ref: each for each in self._harness.own(self._harness.repository.list())}
        self._run(self._catch_up(expected))

    async def _catch_up(self, expected: Mapping[DeploymentRef, Deployment]) -> None:
        while {each.ref: each for each in self._harness.own(self._follower.state.values())} != expected:
            await self._follower.next()

    def _check(self, read: Deployment, known: _Stored) -> None:
        assert read.replicas.desired == known.replicas
        assert int(read.resource_version) >= self._versions.get(read.uid, 0), f"{read.ref} went backward"
        self._versions[read.uid] = int(read.resource_version)
        assert self._uids.setdefault(known.life, read.uid) == read.uid
        assert sorted(self._uids.values()) == sorted(set(self._uids.values())), "a new Deployment has an old one's uid"
        if not self._broken:
            assert read.labels == known.labels

    async def _set(self, ref: DeploymentRef, replicas: int, expect: Expect) -> Deployment:
        return await self._harness.repository.set_replicas(ref, replicas, expect=expect)

    def _written(self, ref: DeploymentRef, replicas: int, written: Deployment) -> None:
        assert (written.ref, written.replicas.desired) == (ref, replicas)
        held = self._cluster[ref]
        if held.replicas != replicas:
            held = evolve(held, replicas=replicas, edits=held.edits + 1)
        self._cluster[ref] = self._view[ref] = held

    def _expect_not_found(self, ref: DeploymentRef, replicas: int, expect: Expect) -> None:
        try:
            self._run(self._set(ref, replicas, expect))
        except DeploymentNotFound:
            return
        raise AssertionError(f"{ref} was scaled, but it does not exist")

    def _settle(self) -> None:
        self._run(self._harness.settle())
        if not self._broken:
            self._view = dict(self._cluster)

    def _ref(self, which: tuple[int, str]) -> DeploymentRef:
        return DeploymentRef(self._harness.namespaces[which[0]], which[1])

    def _run(self, step: Coroutine[Any, Any, _T]) -> _T:
        return self._runner.run(step)
