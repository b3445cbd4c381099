"""What is the remote repository's own: streams that end, certificates that change, and what the kdm says of itself."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.cache.store import Store
from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_adapters.remote.decoding import NotKdms, read_deployment
from kdm_adapters.remote.repository import RemoteDeploymentRepository
from kdm_adapters.remote.source import Source
from kdm_adapters.remote.sse import Event
from kdm_core import (
    CacheStale,
    ChangeKind,
    ClusterTimeout,
    Deployment,
    DeploymentCondition,
    DeploymentRef,
    Forbidden,
    ReplicaStatus,
    Trouble,
    parse_policy,
)
from kdm_core.attribution import LastChange
from kdm_core.owners import Owner, OwnerType
from kdm_core.parked import Parked
from kdm_core.testing.following import DEADLINE_S, Follower
from kdm_http.api.v2.bodies import DeploymentBody
from unit.adapters.remote.harness import Gated, RemoteHarness, remote_harness, until
from unit.adapters.remote.served import served
from unit.adapters.remote.test_client import access_of, tls_server
from unit.http.credentials import Credentials

WEB = DeploymentRef("shop", "web")


@pytest.fixture
async def harness(kdm: Gated) -> AsyncIterator[RemoteHarness]:
    async with remote_harness(kdm) as harness:
        yield harness


class TestDecoding:
    counts = st.integers(0, 2**31 - 1)
    words = st.text(min_size=1, max_size=20)

    @given(
        replicas=st.builds(ReplicaStatus, counts, counts, counts, counts, counts),
        generations=st.tuples(counts, counts),
        paused=st.booleans(),
        labels=st.dictionaries(words, words, max_size=3),
        condition=st.none() | st.builds(DeploymentCondition, words, words, words),
        owners=st.lists(
            st.builds(Owner, words, words, st.none() | counts, st.none() | counts, st.sampled_from(OwnerType)),
            max_size=2,
        ).map(tuple),
        parked=st.none() | st.builds(Parked, st.just("u-1"), counts, st.integers(1, 2**31), words, words, words),
        change=st.none() | st.builds(LastChange, st.integers(1, 2**31), words, words, words),
    )
    def test_a_deployment_comes_back_as_what_it_was(
        self,
        replicas: ReplicaStatus,
        generations: tuple[int, int],
        paused: bool,
        labels: dict[str, str],
        condition: DeploymentCondition | None,
        owners: tuple[Owner, ...],
        parked: Parked | None,
        change: LastChange | None,
    ) -> None:
        found = Deployment(
            WEB, "u-1", "48", *generations, replicas, paused, labels, condition, None, owners, change, parked
        )
        for each in (found, evolve(found, progressing=None, replica_failure=condition)):
            assert read_deployment(msgspec.json.encode(DeploymentBody.of(each))) == each

    @pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"namespace": 7}'])
    def test_what_is_no_deployment_is_said_to_be_none(self, data: bytes) -> None:
        with pytest.raises(NotKdms):
            read_deployment(data)

    async def test_what_the_kdm_knows_besides_comes_along(self, harness: RemoteHarness, kdm: Gated) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()
        parked = Parked(harness.repository.get(ref).uid, 3, 1_790_000_000, "alice", "night", "batch-1")

        await asyncio.to_thread(kdm.do, lambda: kdm.repository.annotate_parked(ref, parked))

        await until(lambda: harness.repository.get(ref).parked is not None)
        assert harness.repository.get(ref).parked == parked
        assert harness.repository.get(ref).last_change is not None


class TestStream:
    async def test_a_stream_that_was_cut_goes_on_where_it_was(self, harness: RemoteHarness) -> None:
        """Each count is seen once, and nobody has to begin again."""
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 0)
        await harness.settle()
        follower = Follower(harness.repository.changes(ref.namespace))
        await follower.until_synced()

        for replicas in range(1, 11):
            await harness.break_watch()
            await harness.edit(ref, replicas=replicas)
            await harness.heal_watch()
            await follower.until_replicas(ref, replicas)

        kinds = [each.kind for each in follower.seen]
        assert ChangeKind.LAGGED not in kinds
        seen = [each.deployment.resource_version for each in follower.seen if each.deployment is not None]
        assert len(seen) == len(set(seen))
        await follower.aclose()

    async def test_after_a_restart_followers_begin_again_and_reads_go_on(
        self, harness: RemoteHarness, kdm: Gated
    ) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3)
        await harness.settle()
        follower = Follower(harness.repository.changes(ref.namespace))
        await follower.until_synced()

        await asyncio.to_thread(kdm.stop)
        assert harness.repository.get(ref).replicas.desired == 3
        await until(lambda: not harness.repository.sync_status().connected)
        await asyncio.to_thread(kdm.start)
        await harness.edit(ref, replicas=5)

        await follower.until_replicas(ref, 5)
        assert ChangeKind.LAGGED in [each.kind for each in follower.seen]
        await harness.settle()
        assert harness.repository.sync_status().healthy
        await follower.aclose()

    async def test_a_kdm_that_says_it_may_be_out_of_date_is_believed(self, harness: RemoteHarness, kdm: Gated) -> None:
        ref = DeploymentRef(harness.namespaces[0], "web")
        await harness.seed(ref, 3)
        await harness.settle()
        assert isinstance(kdm.repository, MemoryDeploymentRepository)
        faults = kdm.repository.faults

        await asyncio.to_thread(kdm.do, lambda: setattr(faults, "stale", True))
        await until(lambda: harness.repository.sync_status().stale)
        with pytest.raises(CacheStale):
            harness.repository.get(ref)
        await asyncio.to_thread(kdm.do, lambda: setattr(faults, "stale", False))
        await until(lambda: harness.repository.sync_status().healthy)
        assert harness.repository.get(ref).replicas.desired == 3

    async def test_a_kdm_without_its_cluster_is_not_connected(self, harness: RemoteHarness, kdm: Gated) -> None:
        assert isinstance(kdm.repository, MemoryDeploymentRepository)
        faults = kdm.repository.faults

        await asyncio.to_thread(kdm.do, lambda: setattr(faults, "disconnected", True))
        await until(lambda: not harness.repository.sync_status().connected)
        (source,) = harness.repository.sync_status().sources
        assert source.trouble is Trouble.INTERRUPTED
        assert "its cluster" in source.reason
        await asyncio.to_thread(kdm.do, lambda: setattr(faults, "disconnected", False))
        await until(lambda: harness.repository.sync_status().healthy)

    async def test_what_is_not_kdms_is_not_taken_for_it(self, tmp_path: Path, credentials: Credentials) -> None:
        stream = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: present\ndata: []\n\n"
        with tls_server(tmp_path, credentials.server, stream) as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            async with RemoteDeploymentRepository(access) as repository:
                await until(lambda: "cannot be read" in repository.sync_status().reason)
                assert repository.sync_status().sources[0].trouble is Trouble.FAILED
                assert not repository.sync_status().synced


class TestCertificates:
    async def test_a_certificate_that_was_renewed_is_used_from_then_on(
        self, kdm: Gated, credentials: Credentials
    ) -> None:
        access = kdm.access(credentials.expired, name="renewed")
        async with RemoteDeploymentRepository(access, sleep=lambda _: asyncio.sleep(0.01)) as repository:
            await until(lambda: repository.sync_status().sources[0].trouble is Trouble.UNAUTHENTICATED)
            assert "has expired" in repository.sync_status().reason
            assert "renewed.pem" in repository.sync_status().reason

            kdm.access(credentials.alice, name="renewed")

            await repository.wait_synced(DEADLINE_S)
            await repository.probe()

    async def test_the_policy_decides_what_exists_and_what_may_be_done(
        self, tmp_path: Path, credentials: Credentials
    ) -> None:
        policy = parse_policy("""
            version = 1
            [[grant]]
            users = ["alice"]
            verbs = ["read"]
            namespaces = ["shop"]
        """)
        with served(tmp_path, credentials, policy=policy) as kdm:
            for namespace in ("shop", "kube-system"):
                kdm.do(lambda namespace=namespace: kdm.cluster.create(DeploymentRef(namespace, "web"), 3))  # type: ignore[misc]
            async with RemoteDeploymentRepository(kdm.access()) as alice:
                await alice.wait_synced(DEADLINE_S)
                assert [each.ref for each in alice.list()] == [WEB]
                with pytest.raises(Forbidden):
                    await alice.set_replicas(WEB, 5)
            bobs = kdm.access(credentials.bob, name="bob")
            async with RemoteDeploymentRepository(bobs, namespaces=["shop"]) as bob:
                await until(lambda: bob.sync_status().sources[0].trouble is Trouble.FORBIDDEN)


class TestWrites:
    async def test_a_write_whose_answer_is_lost_is_sent_once(self, tmp_path: Path, credentials: Credentials) -> None:
        server = tls_server(tmp_path, credentials.server, b"")
        with server as port:
            access = access_of(tmp_path, credentials, f"https://127.0.0.1:{port}")
            never = asyncio.Event()
            async with RemoteDeploymentRepository(access, sleep=lambda _: never.wait()) as repository:  # type: ignore[arg-type, return-value]
                await until(lambda: server.treated == 1)  # the stream, which is not opened again
                with pytest.raises(ClusterTimeout) as caught:
                    await repository.set_replicas(WEB, 5)
            assert caught.value.written is None
            assert server.treated == 2


class TestSource:
    """A cluster that went back, as after a restore from a backup: seen through the kdm."""

    @staticmethod
    def source(store: Store) -> Source:
        return Source(store, None, on_synced=lambda: None, on_reached=lambda _: None, on_reset=lambda: None)

    @staticmethod
    def event(name: str, version: str, replicas: int) -> Event:
        found = Deployment(WEB, "u-1", version, 1, 1, ReplicaStatus(replicas))
        return Event(name, msgspec.json.encode(DeploymentBody.of(found)), "id")

    @staticmethod
    def mark(name: str, version: str) -> Event:
        return Event(name, msgspec.json.encode({"resourceVersion": version, "ageSeconds": 0.0}), "id")

    def test_it_goes_back_with_the_cluster(self) -> None:
        store = Store()
        source = self.source(store)
        source.opened()
        for each in (self.event("present", "500", 3), self.mark("synced", "500"), self.event("modified", "90", 1)):
            source.event(each, 1.0)
        found = store.get("shop", "web")
        assert found is not None
        assert (found.resource_version, found.replicas.desired) == ("90", 1)

    @pytest.mark.parametrize("how", ["bookmark", "synced"])
    def test_an_own_write_of_before_gives_way(self, how: str) -> None:
        store = Store()
        source = self.source(store)
        source.opened()
        for each in (self.event("present", "500", 3), self.mark("synced", "500")):
            source.event(each, 1.0)
        before = source.published.before("shop", "web", "500")
        source.published.write(Deployment(WEB, "u-1", "501", 2, 1, ReplicaStatus(9)), before, "500")
        assert store.list()[0].replicas.desired == 9

        if how == "synced":
            source.event(Event("reset", b"{}"), 2.0)
            source.event(self.event("present", "90", 1), 2.0)
        else:
            source.event(self.event("modified", "90", 1), 2.0)
        assert store.list()[0].replicas.desired == 9
        source.event(self.mark(how, "95"), 2.0)
        assert (store.list()[0].replicas.desired, source.resource_version) == (1, "95")

    def test_an_own_write_gives_way_where_the_stream_has_come_as_far(self) -> None:
        """Though it never showed the Deployment: this client may not read it, or it was deleted at once."""
        store = Store()
        source = self.source(store)
        source.opened()
        source.event(self.mark("synced", "500"), 1.0)
        before = source.published.before("shop", "web", "500")
        source.published.write(Deployment(WEB, "u-1", "501", 2, 1, ReplicaStatus(9)), before, "500")
        source.event(self.mark("bookmark", "500"), 2.0)
        assert len(store.list()) == 1
        source.event(self.mark("bookmark", "501"), 3.0)
        assert store.list() == ()

    def test_the_age_is_what_the_kdm_says_and_the_silence_since(self) -> None:
        source = self.source(Store())
        assert source.status(1.0, 60.0).age_s == math.inf
        source.opened()
        said = Event("synced", b'{"resourceVersion": "7", "ageSeconds": 2.5, "connected": true}', "id")
        source.event(said, 10.0)
        assert source.status(11.0, 60.0).age_s == 3.5
        assert source.status(100.0, 60.0).stale
        source.event(Event("bookmark", b'{"resourceVersion": "8", "ageSeconds": 0.0}', "id"), 100.0)
        assert source.status(100.0, 60.0).age_s == 0.0
