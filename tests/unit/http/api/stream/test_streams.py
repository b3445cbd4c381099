"""What a client of a stream sees, over mutual TLS: the present state, what happens then, and why it ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kdm_adapters.memory import MemoryDeploymentRepository
from kdm_core import DeploymentService, Identity, Query, Verb
from kdm_http.api.errors import Refused
from kdm_http.api.stream.hub import Pace
from kdm_http.api.stream.streams import StreamLimits, Streams
from kdm_http.server.limits import Limits
from unit.core.fixtures import grant, policy
from unit.http.api.stream.streaming import API, JOB, WEB, Stream
from unit.http.credentials import Leaf

READ = Verb.READ
SHOP = "/api/v2/namespaces/shop/deployments?watch=true"
TIER = "/api/v2/deployments?watch=true&labelSelector=tier%3Dweb"


async def test_the_present_state_comes_first_and_then_each_change(stage: Any, open_stream: Any) -> None:
    server = await stage()
    stream = await open_stream(server)
    assert stream.status == 200
    assert stream.headers["content-type"] == "text/event-stream"
    assert stream.headers["cache-control"] == "no-store"
    assert stream.headers["x-accel-buffering"] == "no"
    assert stream.headers["transfer-encoding"] == "chunked"
    await stream.until("synced")
    assert stream.kinds == ["present", "present", "present", "synced"]
    assert set(stream.state) == {("batch", "job"), ("shop", "api"), ("shop", "web")}
    assert 1000 <= stream.source.retry_ms <= 5000

    server.repository.cluster.scale(WEB, 9)
    event = await stream.until_shown(WEB, 9)
    assert event.type == "modified"
    assert event.last_event_id
    server.repository.cluster.delete(JOB)
    assert (await stream.until("deleted")).json["name"] == "job"
    server.repository.cluster.create(JOB, 1)
    assert (await stream.until("added")).json["name"] == "job"


async def test_a_namespace_and_a_selector_narrow_it(stage: Any, open_stream: Any) -> None:
    server = await stage()
    shop, tier = await open_stream(server, SHOP), await open_stream(server, TIER)
    await shop.until("synced")
    await tier.until("synced")
    assert set(shop.state) == {("shop", "api"), ("shop", "web")}
    assert set(tier.state) == {("shop", "web")}

    server.repository.cluster.scale(JOB, 5)
    server.repository.cluster.relabel(WEB, {"tier": "edge"})
    deleted = await tier.until("deleted")
    assert deleted.json["labels"] == {"tier": "web"}, "as it was last shown"
    assert (await shop.until("modified")).json["labels"] == {"tier": "edge"}
    server.repository.cluster.relabel(API, {"tier": "web"})
    assert (await tier.until("added")).json["name"] == "api"
    assert ("batch", "job") not in shop.state


async def test_it_goes_on_where_it_was_cut(stage: Any, open_stream: Any) -> None:
    server = await stage()
    stream = await open_stream(server)
    await stream.until("synced")
    stream.cut()
    server.repository.cluster.scale(WEB, 4)
    server.repository.cluster.delete(JOB)
    seen = len(stream.seen)
    await stream.open()
    await stream.until("bookmark")
    assert stream.kinds[seen:] == ["modified", "deleted", "bookmark"]
    assert set(stream.state) == {("shop", "api"), ("shop", "web")}


@pytest.mark.parametrize(
    "given",
    ["0badc0de-7-0123456789abcdef", "nonsense", "1", "-1", "9" * 400, "0badc0de-7-", "%00"],
)
async def test_a_foreign_or_garbled_id_is_said_and_the_present_state_sent(
    given: str, stage: Any, open_stream: Any
) -> None:
    server = await stage()
    stream = await open_stream(server, last_event_id=given)
    first = await stream.next()
    assert (first.type, first.json, first.last_event_id) == ("reset", {"reason": "unknown-cursor"}, "")
    await stream.until("synced")
    assert len(stream.state) == 3
    assert server.metric("kdm_stream_resets_total", reason="unknown-cursor") == 1


async def test_an_id_of_the_future_is_unknown(stage: Any, open_stream: Any) -> None:
    server = await stage()
    stream = await open_stream(server)
    instance, number, view = (await stream.until("synced")).last_event_id.split("-")
    await stream.open(f"{instance}-{int(number) + 1}-{view}")
    assert (await stream.next()).json == {"reason": "unknown-cursor"}


async def test_an_id_of_another_query_leads_nowhere(stage: Any, open_stream: Any) -> None:
    """Else what left the selector in between would stay with the client, or what was never in it be deleted."""
    server = await stage()
    everything, tier = await open_stream(server), await open_stream(server, TIER)
    identifier = (await everything.until("synced")).last_event_id
    await tier.until("synced")
    server.repository.cluster.relabel(WEB, {})
    await tier.until("deleted")
    await tier.open(identifier)
    assert (await tier.next()).json == {"reason": "unknown-cursor"}
    await tier.until("synced")
    assert tier.state == {}


async def test_an_id_of_another_identity_leads_nowhere(stage: Any, open_stream: Any, credentials: Any) -> None:
    both = policy(grant("alice", READ), grant("bob", READ, names="web"))
    server = await stage(policy=both)
    alice, bob = await open_stream(server), await open_stream(server, identity=credentials.bob)
    identifier = (await alice.until("synced")).last_event_id
    await bob.until("synced")
    server.repository.cluster.scale(API, 7)
    await alice.until_shown(API, 7)
    await bob.open(identifier)
    assert (await bob.next()).json == {"reason": "unknown-cursor"}
    await bob.until("synced")
    assert set(bob.state) == {("shop", "web")}


async def left_behind(stage: Any, open_stream: Any) -> Stream:
    """Cut a stream, and let more happen than is kept for it."""
    server = await stage(pace=Pace(steps=4, tick_s=0.01))
    stream: Stream
    stream, other = await open_stream(server), await open_stream(server)
    await stream.until("synced")
    await other.until("synced")
    stream.cut()
    for replicas in range(10, 20):
        server.repository.cluster.scale(WEB, replicas)
    await other.until_shown(WEB, 19)
    return stream


async def test_what_is_not_kept_any_more_is_said(stage: Any, open_stream: Any) -> None:
    stream = await left_behind(stage, open_stream)
    await stream.open()
    assert (await stream.next()).json == {"reason": "too-old"}
    await stream.until("synced")
    assert stream.state[("shop", "web")]["replicas"]["desired"] == 19


async def test_who_was_away_while_nobody_followed_is_told_so(stage: Any, open_stream: Any) -> None:
    """When the last client has left for long, nothing is followed, and what happens is not known."""
    server = await stage(pace=Pace(tick_s=0.01, linger_s=0.0))
    stream = await open_stream(server)
    await stream.until("synced")
    stream.cut()
    await server.server.events.until_open(0)
    server.repository.cluster.delete(JOB)
    await stream.open()
    assert (await stream.next()).json == {"reason": "too-old"}
    await stream.until("synced")
    assert ("batch", "job") not in stream.state


async def test_a_cut_within_the_present_state_leads_to_the_whole_of_it(stage: Any, open_stream: Any) -> None:
    """A reset has the client forget its id, or it would come back with the old one and half a state."""
    stream = await left_behind(stage, open_stream)
    await stream.open()
    await stream.until("reset")
    await stream.until("present")
    assert stream.source.last_event_id == ""
    await stream.open()
    assert (await stream.next()).type == "present"
    await stream.until("synced")
    assert len(stream.state) == 3


class TestPolicy:
    async def test_decides_what_is_shown_at_each_event(self, stage: Any, open_stream: Any) -> None:
        server = await stage(policy=policy(grant("alice", READ, tier="web")))
        stream = await open_stream(server)
        await stream.until("synced")
        assert set(stream.state) == {("shop", "web")}
        server.repository.cluster.scale(JOB, 8)
        server.repository.cluster.relabel(WEB, {})
        assert (await stream.until("deleted", "modified", "added")).type == "deleted"
        server.repository.cluster.relabel(JOB, {"tier": "web"})
        assert (await stream.until("added")).json["name"] == "job"

    async def test_that_changes_is_said_and_followed_by_what_it_shows_now(self, stage: Any, open_stream: Any) -> None:
        server = await stage(policy=policy(grant("alice", READ, names="web")))
        stream = await open_stream(server)
        await stream.until("synced")
        server.service.policy = policy(grant("alice", READ, names="job"))
        reset = await stream.next()
        assert (reset.type, reset.json) == ("reset", {"reason": "policy-changed"})
        await stream.until("synced")
        assert set(stream.state) == {("batch", "job")}

    async def test_that_changes_nothing_for_a_client_is_not_said(self, stage: Any, open_stream: Any) -> None:
        server = await stage(policy=policy(grant("alice", READ, names="web")))
        stream = await open_stream(server)
        await stream.until("synced")
        server.service.policy = policy(grant("bob", READ), grant("alice", READ, Verb.SCALE, names="web"))
        server.repository.cluster.scale(WEB, 8)
        assert (await stream.next()).type == "modified"

    async def test_that_changed_while_a_client_was_away_is_said(self, stage: Any, open_stream: Any) -> None:
        server = await stage(policy=policy(grant("alice", READ, names="web")))
        stream = await open_stream(server)
        await stream.until("synced")
        stream.cut()
        await server.server.events.until_open(0)
        server.service.policy = policy(grant("alice", READ, names="job"))
        await stream.open()
        assert (await stream.next()).json == {"reason": "policy-changed"}
        await stream.until("synced")
        assert set(stream.state) == {("batch", "job")}

    async def test_that_changed_to_and_fro_while_a_client_was_away_changes_nothing_for_it(
        self, stage: Any, open_stream: Any
    ) -> None:
        web = policy(grant("alice", READ, names="web"))
        server = await stage(policy=web)
        stream = await open_stream(server)
        await stream.until("synced")
        stream.cut()
        server.service.policy = policy(grant("alice", READ, names="job"))
        server.service.policy = web
        server.repository.cluster.scale(JOB, 8)
        server.repository.cluster.scale(WEB, 8)
        await stream.open()
        await stream.until_shown(WEB, 8)
        assert set(stream.state) == {("shop", "web")}
        assert "reset" not in stream.kinds

    async def test_an_id_given_under_another_policy_is_no_id_under_this_one(self, stage: Any, open_stream: Any) -> None:
        """Nothing happens but the policy: an id of before it must not be taken for one of after it."""
        web, job = policy(grant("alice", READ, names="web")), policy(grant("alice", READ, names="job"))
        server = await stage(policy=web)
        stream = await open_stream(server)
        of_web = (await stream.until("synced")).last_event_id
        server.service.policy = job
        of_job = (await stream.until("synced")).last_event_id
        assert of_web != of_job
        await stream.open(of_web)
        assert (await stream.next()).json == {"reason": "policy-changed"}
        await stream.open(of_job)
        assert (await stream.next()).type == "bookmark"
        server.service.policy = web
        assert (await stream.next()).json == {"reason": "policy-changed"}

    async def test_that_changed_before_a_client_goes_on_is_not_said_again(self, stage: Any, open_stream: Any) -> None:
        """Another client of the same view has seen it change; whoever comes back under an id of since then has, too."""
        server = await stage(policy=policy(grant("alice", READ, names="web")))
        stays = await open_stream(server)
        await stays.until("synced")
        server.service.policy = policy(grant("alice", READ, names="job"))
        comes = await open_stream(server)
        await comes.until("synced")
        comes.cut()
        server.repository.cluster.scale(JOB, 8)
        seen = len(comes.seen)
        await comes.open()
        await comes.until_shown(JOB, 8)
        server.repository.cluster.scale(JOB, 9)
        await comes.until_shown(JOB, 9)
        assert comes.kinds[seen:] == ["modified", "bookmark", "modified"]

    async def test_that_shows_nothing_any_more_ends_the_stream(self, stage: Any, open_stream: Any) -> None:
        server = await stage(policy=policy(grant("alice", READ)))
        stream = await open_stream(server)
        await stream.until("synced")
        server.service.policy = policy(grant("bob", READ))
        assert (await stream.next()).json == {"reason": "forbidden"}
        with pytest.raises(EOFError):
            await stream.next()
        assert server.metric("kdm_streams_closed_total", reason="forbidden") == 1


class TestTheEnd:
    async def test_a_certificate_that_expires_ends_it(self, stage: Any, open_stream: Any, credentials: Any) -> None:
        """OpenSSL judges by the system's clock, so this one has three seconds to live."""
        server = await stage()
        begin = datetime.now(UTC) - timedelta(days=1) + timedelta(seconds=3)
        brief = Leaf.of(credentials.authority.issue("carol", days=1, now=begin))
        stream = await open_stream(server, identity=brief)
        await stream.until("synced")
        server.repository.cluster.scale(WEB, 8)
        await stream.until_shown(WEB, 8)
        assert (await stream.next()).json == {"reason": "certificate-expired"}
        with pytest.raises((EOFError, ConnectionError)):
            await stream.next()
        assert (await server.server.rejection()).user == "carol"
        await server.server.events.until_open(0)
        assert server.metric("kdm_streams_closed_total", reason="certificate") == 1

    async def test_a_certificate_that_is_revoked_ends_it_and_no_other(
        self, stage: Any, open_stream: Any, credentials: Any
    ) -> None:
        server = await stage(crl=True)
        alice, bob = await open_stream(server), await open_stream(server, identity=credentials.bob)
        await alice.until("synced")
        await bob.until("synced")
        server.server.replace(server.server.crl, credentials.crl(credentials.alice))
        assert (await alice.until("closing")).json == {"reason": "certificate-revoked"}
        server.repository.cluster.scale(WEB, 8)
        await bob.until_shown(WEB, 8)

    async def test_a_stop_says_so_and_is_not_held_up(self, stage: Any, open_stream: Any) -> None:
        server = await stage()
        streams = [await open_stream(server) for _ in range(5)]
        for each in streams:
            await each.until("synced")
        server.server.stopping.set()
        for each in streams:
            assert (await each.until("closing")).json == {"reason": "shutdown"}
            with pytest.raises((EOFError, ConnectionError)):
                await each.next()
        async with asyncio.timeout(5):
            await server.server.stop()

    async def test_a_client_that_does_not_read_cannot_hold_up_a_stop(self, stage: Any, open_stream: Any) -> None:
        server = await stage(limits=Limits(grace_s=60.0))
        stream = await open_stream(server)
        stream.client.writer.transport.pause_reading()
        for number in range(20000):
            server.repository.cluster.relabel(WEB, {"number": str(number), "filling": "x" * 60})
            if number % 100 == 0:
                await asyncio.sleep(0)
        async with asyncio.timeout(15):
            await server.server.stop()

    async def test_the_age_of_its_connection_ends_it_and_it_goes_on_with_the_next(
        self, stage: Any, open_stream: Any
    ) -> None:
        server = await stage(limits=Limits(connection_age_s=0.2))
        stream = await open_stream(server)
        assert (await stream.until("closing")).json == {"reason": "connection-age"}
        await stream.open()
        assert (await stream.next()).type == "bookmark"

    async def test_the_time_of_a_request_does_not_end_it(self, stage: Any, open_stream: Any) -> None:
        server = await stage(
            limits=Limits(request_s=0.05, idle_s=0.05, body_s=0.05, header_s=0.05, write_s=0.05),
            pace=Pace(tick_s=0.01, heartbeat_ticks=50, bookmark_ticks=10**9),
        )
        stream = await open_stream(server)
        await stream.until("synced")
        while stream.source.comments == 0:  # half a second
            stream.take(await stream.chunk())
        server.repository.cluster.scale(WEB, 8)
        await stream.until_shown(WEB, 8)

    async def test_a_repository_that_stops_ends_it(self, stage: Any, open_stream: Any) -> None:
        server = await stage()
        stream = await open_stream(server)
        await stream.until("synced")
        await server.repository.__aexit__(None, None, None)
        assert (await stream.until("closing")).json == {"reason": "shutdown"}

    async def test_a_client_that_leaves_is_forgotten(self, stage: Any, open_stream: Any) -> None:
        server = await stage()
        stream = await open_stream(server)
        await stream.until("synced")
        assert server.metric("kdm_streams") == 1
        stream.cut()
        await server.server.events.until_open(0)
        await asyncio.sleep(0)
        assert server.metric("kdm_streams") == 0
        assert server.metric("kdm_streams_closed_total", reason="hang-up") == 1


async def test_silence_is_broken_by_comments_and_bookmarks(stage: Any, open_stream: Any) -> None:
    server = await stage(pace=Pace(tick_s=0.01, heartbeat_ticks=2, bookmark_ticks=8))
    stream = await open_stream(server)
    await stream.until("synced")
    bookmark = await stream.until("bookmark")
    assert bookmark.json["stale"] is False
    assert bookmark.last_event_id
    await stream.until("bookmark")
    assert stream.source.comments >= 3


async def test_who_sees_nothing_of_large_changes_does_not_begin_again(stage: Any, open_stream: Any) -> None:
    """A few of them fill what is kept: who sees none of them keeps up, with an id that leads on."""
    server = await stage(pace=Pace(size=40_000, tick_s=0.01, gather_s=0.0, heartbeat_ticks=10**9, bookmark_ticks=10**9))
    stream = await open_stream(server, TIER)
    await stream.until("synced")
    seen = len(stream.seen)
    for number in range(200):
        server.repository.cluster.relabel(JOB, {"number": str(number), **{f"filling-{n}": "x" * 60 for n in range(20)}})
        await asyncio.sleep(0)
    server.repository.cluster.scale(WEB, 8)
    await stream.until_shown(WEB, 8)
    assert set(stream.kinds[seen:]) == {"bookmark", "modified"}


async def test_a_bookmark_comes_early_where_much_happens_that_is_not_shown(stage: Any, open_stream: Any) -> None:
    """Else the client's id would lead nowhere when it needs it."""
    server = await stage(pace=Pace(steps=64, tick_s=0.01, heartbeat_ticks=10**9, bookmark_ticks=10**9))
    stream = await open_stream(server, TIER)
    first = (await stream.until("synced")).last_event_id
    for replicas in range(100, 140):
        server.repository.cluster.scale(JOB, replicas)
        await asyncio.sleep(0)
    server.repository.cluster.scale(WEB, 8)
    await stream.until_shown(WEB, 8)
    stream.cut()
    for replicas in range(200, 240):
        server.repository.cluster.scale(JOB, replicas)
    await stream.open()
    assert (await stream.next()).type in {"bookmark", "modified"}
    assert stream.source.last_event_id != first


async def test_who_sees_nothing_of_what_happens_does_not_lag(stage: Any, open_stream: Any) -> None:
    server = await stage(pace=Pace(steps=64, tick_s=0.01, gather_s=0.0, heartbeat_ticks=10**9, bookmark_ticks=10**9))
    stream, other = await open_stream(server, TIER), await open_stream(server)
    await stream.until("synced")
    await other.until("synced")
    for replicas in range(100, 400):
        server.repository.cluster.scale(JOB, replicas)
        if replicas % 10 == 0:
            await other.until_shown(JOB, replicas)
    server.repository.cluster.scale(WEB, 8)
    await stream.until_shown(WEB, 8)
    assert set(stream.kinds[2:]) == {"bookmark", "modified"}
    stream.cut()
    server.repository.cluster.scale(WEB, 9)
    await stream.open()
    await stream.until_shown(WEB, 9)
    assert "reset" not in stream.kinds


async def test_a_state_that_may_be_old_is_said_to_be(stage: Any, open_stream: Any) -> None:
    server = await stage()
    stream = await open_stream(server)
    assert (await stream.until("synced")).json["stale"] is False
    server.repository.faults.stale = True
    await stream.until("stale")
    late = await open_stream(server)
    assert (await late.until("synced")).json["stale"] is True
    await late.until("stale")
    server.repository.faults.stale = False
    await stream.until("fresh")
    await late.until("fresh")


async def test_a_namespace_is_streamed_while_another_cannot_be_read(stage: Any, open_stream: Any) -> None:
    repository = MemoryDeploymentRepository(namespaces=("shop", "batch"))
    repository.faults.disconnected_namespaces = frozenset({"batch"})
    server = await stage(repository=repository)
    stream = await open_stream(server, SHOP)
    await stream.until("synced")
    assert set(stream.state) == {("shop", "api"), ("shop", "web")}
    repository.cluster.scale(WEB, 8)
    await stream.until_shown(WEB, 8)


async def test_what_was_missed_while_the_cluster_was_away_comes_as_differences(stage: Any, open_stream: Any) -> None:
    server = await stage()
    stream = await open_stream(server)
    await stream.until("synced")
    server.repository.break_watch()
    server.repository.cluster.create(WEB, 6)
    server.repository.cluster.delete(JOB)
    server.repository.heal_watch()
    await stream.until_shown(WEB, 6)
    assert {key for key in stream.state if key != ("batch", "job")} == {("shop", "api"), ("shop", "web")}
    assert "reset" not in stream.kinds


class TestLimits:
    async def test_of_one_user(self, stage: Any, open_stream: Any, credentials: Any) -> None:
        server = await stage(streams=StreamLimits(total=10, per_user=2))
        first, _ = await open_stream(server), await open_stream(server)
        assert (await open_stream(server)).status == 429
        assert (await open_stream(server, identity=credentials.bob)).status == 200
        first.cut()
        await server.server.events.until_open(3)
        assert (await open_stream(server)).status == 200
        assert server.metric("kdm_streams_refused_total", limit="user") == 1

    async def test_in_all(self, stage: Any, open_stream: Any, credentials: Any) -> None:
        server = await stage(streams=StreamLimits(total=2, per_user=2))
        await open_stream(server), await open_stream(server)
        assert (await open_stream(server, identity=credentials.bob)).status == 503
        assert server.metric("kdm_streams_refused_total", limit="total") == 1


async def test_what_follows_a_change_closely_is_sent_together(stage: Any, open_stream: Any) -> None:
    """Writing to each of many clients is what costs: so 200 changes a second are 20 writes to each."""
    server = await stage(pace=Pace(tick_s=0.01, gather_s=0.5, heartbeat_ticks=10**9, bookmark_ticks=10**9))
    stream = await open_stream(server)
    await stream.until("synced")
    for replicas in range(100, 110):
        server.repository.cluster.scale(WEB, replicas)
        await asyncio.sleep(0)
    first = stream.take(await stream.chunk())
    rest = stream.take(await stream.chunk())
    shown = [each.json["replicas"]["desired"] for each in (*first, *rest)]
    assert shown == list(range(100, 110)), "none is left out"
    assert len(first) < len(rest)


async def test_a_stream_that_is_never_begun_takes_no_place() -> None:
    """Its request may be cancelled before its answer begins."""
    async with MemoryDeploymentRepository() as repository:
        streams = Streams(DeploymentService(repository), lambda _: b"{}", limits=StreamLimits(total=1, per_user=1))
        for _ in range(3):
            streams.open(Identity("alice"), Query(), [])
        kept = streams.open(Identity("alice"), Query(), [])
        with pytest.raises(Refused):
            streams.open(Identity("alice"), Query(), [])
        del kept
        streams.open(Identity("alice"), Query(), [])
        await streams.aclose()
