"""The contract of ``changes``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from kdm_core.model import ChangeKind, DeploymentChange, DeploymentRef
from kdm_core.testing.following import DEADLINE_S, Follower, desired
from kdm_core.testing.harness import RepositoryHarness

PRESENT, SYNCED, LAGGED = ChangeKind.PRESENT, ChangeKind.SYNCED, ChangeKind.LAGGED
ADDED, MODIFIED, DELETED = ChangeKind.ADDED, ChangeKind.MODIFIED, ChangeKind.DELETED


class ChangesContract:
    """A subscriber gets the present state, then what happens, and what it adds up is what reads show."""

    async def test_the_present_state_comes_first(self, harness: RepositoryHarness) -> None:
        refs = {DeploymentRef(namespace, "web") for namespace in harness.namespaces}
        for ref in refs:
            await harness.seed(ref, 1)
        await harness.settle()
        follower = Follower(harness.repository.changes())

        got = await follower.until_synced()
        await follower.aclose()

        assert {each.kind for each in got[:-1]} == {PRESENT}
        assert {each.ref for each in harness.own(follower.state.values())} == refs
        assert follower.state == {each.ref: each for each in harness.repository.list()}

    async def test_nothing_present_is_told_too(self, harness: RepositoryHarness) -> None:
        follower = Follower(harness.repository.changes(harness.namespaces[0]))

        assert await follower.next() == DeploymentChange(SYNCED)

        await follower.aclose()

    async def test_what_happens_is_told_once_and_in_order(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        follower = Follower(harness.repository.changes(ref.namespace))
        await follower.until_synced()

        await harness.seed(ref, 1)
        await follower.until_replicas(ref, 1)
        for replicas in (2, 0, 5):
            await harness.edit(ref, replicas=replicas)
        await follower.until_replicas(ref, 5)
        await harness.delete(ref)
        await follower.until(lambda change: change.kind is DELETED)
        await follower.aclose()

        kinds = [each.kind for each in follower.seen[1:]]
        assert kinds[0] is ADDED
        assert set(kinds[1:-1]) == {MODIFIED}
        assert self._counts(follower, ref) == [1, 2, 0, 5]
        last = follower.seen[-1].deployment
        assert last is not None
        assert last.replicas.desired == 5, "a deletion tells what was deleted"

    async def test_what_was_told_is_read(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()
        follower = Follower(harness.repository.changes(ref.namespace))
        await follower.until_synced()

        for replicas in range(1, 4):
            await harness.edit(ref, replicas=replicas)
            for change in await follower.until_replicas(ref, replicas):
                read = harness.repository.get(ref)
                assert change.deployment is not None
                assert int(read.resource_version) >= int(change.deployment.resource_version)

        await follower.aclose()

    async def test_own_writes_are_told(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        follower = Follower(harness.repository.changes(ref.namespace))
        await follower.until_synced()

        for replicas in (2, 3):
            await harness.repository.set_replicas(ref, replicas)
        await follower.until_replicas(ref, 3)
        await follower.aclose()

        assert self._counts(follower, ref) == [1, 2, 3]

    async def test_a_subscriber_to_a_namespace_is_told_of_no_other(self, harness: RepositoryHarness) -> None:
        here, elsewhere = (DeploymentRef(namespace, "web") for namespace in harness.namespaces)
        await harness.seed(elsewhere, 1)
        await harness.settle()
        follower = Follower(harness.repository.changes(here.namespace))
        await follower.until_synced()

        await harness.edit(elsewhere, replicas=2)
        await harness.settle()
        await harness.seed(here, 7)
        await follower.until_replicas(here, 7)
        await follower.aclose()

        assert {each.deployment.ref for each in follower.seen if each.deployment} == {here}

    async def test_subscribers_do_not_share_what_they_are_told(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        followers = [Follower(harness.repository.changes(ref.namespace)) for _ in range(2)]
        await followers[0].until_synced()
        await harness.edit(ref, replicas=2)
        await followers[0].until_replicas(ref, 2)

        await followers[1].until_synced()
        await harness.edit(ref, replicas=3)
        for follower in followers:
            await follower.until_replicas(ref, 3)
            await follower.aclose()

        assert [self._counts(each, ref) for each in followers] == [[1, 2, 3], [2, 3]]

    async def test_what_was_missed_arrives_as_one_difference(self, harness: RepositoryHarness) -> None:
        """Deletions, too: who only listens learns that what vanished unseen is gone."""
        namespace = harness.namespaces[0]
        kept, gone, replaced, fresh = (DeploymentRef(namespace, name) for name in ("kept", "gone", "replaced", "fresh"))
        for ref in (kept, gone, replaced):
            await harness.seed(ref, 1)
        await harness.settle()
        follower = Follower(harness.repository.changes(namespace))
        await follower.until_synced()
        await harness.break_watch()
        await harness.delete(gone)
        await harness.delete(replaced)
        await harness.seed(replaced, 4)
        await harness.edit(kept, replicas=2)
        await harness.edit(kept, replicas=3)
        await harness.seed(fresh, 5)
        await harness.heal_watch()
        await harness.settle()

        expected = {each.ref: each for each in harness.repository.list(namespace)}
        while dict(follower.state) != expected:
            await follower.next()
        await follower.aclose()

        counts = {ref.name: each.replicas.desired for ref, each in expected.items()}
        assert counts == {"kept": 3, "replaced": 4, "fresh": 5}
        assert [d.ref for each in follower.seen if each.kind is DELETED and (d := each.deployment)].count(gone) == 1

    async def test_who_falls_behind_begins_anew(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        doomed = DeploymentRef(harness.namespaces[0], "doomed")
        await harness.seed(ref, 0)
        await harness.seed(doomed, 0)
        await harness.settle()
        follower = Follower(harness.repository.changes(ref.namespace))
        before = await follower.until_synced()

        await harness.delete(doomed)
        for replicas in range(1, 3 * harness.buffer):
            await harness.edit(ref, replicas=replicas)
        await harness.settle()
        await follower.until(lambda change: change.kind is LAGGED)
        again = await follower.until_synced()
        while follower.state[ref].replicas.desired != 3 * harness.buffer - 1:
            await follower.next()

        assert {each.kind for each in again[:-1]} == {PRESENT}
        assert doomed not in follower.state, "what was not sent as present does not exist"
        kept = len(follower.seen) - len(before) - 1 - len(again)
        assert kept <= 2 * harness.buffer, "before LAGGED and after the present state, each at most a buffer"
        await harness.edit(ref, replicas=0)
        await follower.until_replicas(ref, 0)
        await follower.aclose()

    async def test_who_falls_behind_hurts_nobody_else(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()
        slow, quick = (Follower(harness.repository.changes(ref.namespace)) for _ in range(2))
        await slow.until_synced()
        await quick.until_synced()
        last = harness.buffer + 2

        for replicas in range(1, last + 1):
            await harness.edit(ref, replicas=replicas)
            await quick.until_replicas(ref, replicas)
        await slow.aclose()
        await quick.aclose()

        assert LAGGED not in {each.kind for each in quick.seen}
        assert self._counts(quick, ref) == list(range(last + 1))

    async def test_a_closed_subscription_ends_alone(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        closed, begun, never_begun = (harness.repository.changes(ref.namespace) for _ in range(3))
        follower = Follower(begun)
        await follower.until_synced()
        await anext(closed)

        await closed.aclose()
        await never_begun.aclose()

        with pytest.raises(StopAsyncIteration):
            await anext(closed)
        await harness.edit(ref, replicas=2)
        await follower.until_replicas(ref, 2)
        await follower.aclose()

    async def test_a_waiting_subscriber_can_be_cancelled(self, harness: RepositoryHarness) -> None:
        changes = harness.repository.changes(harness.namespaces[0])
        await anext(changes)
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)  # it begins to wait

        waiting.cancel()

        with pytest.raises(asyncio.CancelledError):
            await waiting

    async def test_subscriptions_end_when_the_repository_stops(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        await harness.settle()
        async with harness.another() as another:
            await another.wait_synced(DEADLINE_S)
            waiting, halfway, not_begun = (another.changes(ref.namespace) for _ in range(3))
            assert [await anext(waiting), await anext(waiting)][-1] == DeploymentChange(SYNCED)
            rest = asyncio.create_task(self._rest(waiting))
            await asyncio.sleep(0)  # it begins to wait
            assert (await anext(halfway)).kind is PRESENT

        async with asyncio.timeout(DEADLINE_S):
            assert await rest == []
            assert await self._rest(halfway) == []
            assert await self._rest(not_begun) == []

    async def test_a_subscriber_may_come_before_the_first_sync(self, harness: RepositoryHarness) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 1)
        another = harness.another()
        follower = Follower(another.changes(ref.namespace))
        syncing = asyncio.create_task(follower.until_synced())
        await asyncio.sleep(0)  # it begins to wait
        assert not syncing.done()

        async with another:
            await syncing
            await follower.aclose()

        assert list(follower.state) == [ref]

    async def test_a_subscriber_that_was_never_synced_ends_too(self, harness: RepositoryHarness) -> None:
        await harness.break_watch()
        async with harness.another() as another:
            rest = asyncio.create_task(self._rest(another.changes()))
            await asyncio.sleep(0)  # it begins to wait

        async with asyncio.timeout(DEADLINE_S):
            assert await rest == []

    @staticmethod
    async def _rest(changes: AsyncGenerator[DeploymentChange, None]) -> list[DeploymentChange]:
        return [each async for each in changes]

    @staticmethod
    def _counts(follower: Follower, ref: DeploymentRef) -> list[int]:
        """Return the counts a Deployment was seen to have, without repetitions: its status may change in between."""
        counts = [count for each in follower.seen if (count := desired(each)) and count[0] == ref]
        return [count for n, (_, count) in enumerate(counts) if n == 0 or counts[n - 1][1] != count]
