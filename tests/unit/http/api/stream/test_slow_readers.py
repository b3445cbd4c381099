"""A client that does not read costs a bounded amount of memory, is told what it missed, and slows nobody."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

from kdm_http.api.stream.hub import Pace
from kdm_http.server.limits import Limits
from unit.http.api.stream.streaming import WEB

SLOW = 8
CHANGES = 6000
LABELS = {f"filling-{number}": "x" * 63 for number in range(20)}
PER_CLIENT = 256 * 1024
"""What a client may cost, in bytes, with its own end in this process."""
QUIET = Pace(steps=256, tick_s=0.01, gather_s=0.0, heartbeat_ticks=10**9, bookmark_ticks=10**9)


NOT_FOR_CLIENTS = (
    "*/regular_file.py",  # the large buffer that a polled file is read into for a moment
    "*/coverage/*",  # a table of all code in the process: it takes 2.6 MB at once when it has 43,690 entries
)


def held() -> int:
    """Return how much memory is in use, without what is not in use for clients."""
    not_counted = [tracemalloc.Filter(False, pattern) for pattern in NOT_FOR_CLIENTS]
    snapshot = tracemalloc.take_snapshot().filter_traces(not_counted)
    return sum(each.size for each in snapshot.statistics("filename"))


async def test_slow_readers_cost_bounded_memory_are_told_and_slow_nobody(stage: Any, open_stream: Any) -> None:
    server = await stage(pace=QUIET, limits=Limits(write_s=1000.0))
    slow = [await open_stream(server) for _ in range(SLOW)]
    quick = await open_stream(server)
    for each in (*slow, quick):
        await each.until("synced")
    for each in slow:
        each.client.writer.transport.pause_reading()

    most = 0
    tracemalloc.start()
    for replicas in range(1001, 1001 + CHANGES):
        server.repository.cluster.create(WEB, replicas, labels={**LABELS, "number": str(replicas)})
        if replicas % 25 == 0:
            await quick.until_shown(WEB, replicas)
            quick.seen.clear()
        if replicas % 250 == 0:
            most = max(most, held())
    tracemalloc.stop()
    assert most < SLOW * PER_CLIENT + 1024 * 1024
    behind = CHANGES * 2 * len(LABELS) * 70  # of one client, in bytes
    assert SLOW * behind > 20 * most, "as much would wait without a bound"
    assert server.metric("kdm_stream_backlog_changes") > CHANGES

    for each in slow:
        each.client.writer.transport.resume_reading()
        assert (await each.until("reset")).json == {"reason": "lagged"}
        await each.until("synced")
        assert each.state["shop", "web"]["replicas"]["desired"] == 1000 + CHANGES
    assert quick.state == slow[0].state
    assert server.metric("kdm_stream_resets_total", reason="lagged") == SLOW
    assert server.metric("kdm_stream_changes_skipped_total") > SLOW * CHANGES


async def test_who_never_reads_again_is_cut_off(stage: Any, open_stream: Any) -> None:
    server = await stage(pace=QUIET, limits=Limits(write_s=0.2))
    stream, quick = await open_stream(server), await open_stream(server)
    await quick.until("synced")
    stream.client.writer.transport.pause_reading()
    replicas = 1000
    while server.server.events.open == 2:
        for _ in range(25):
            replicas += 1
            server.repository.cluster.create(WEB, replicas, labels=LABELS)
        await quick.until_shown(WEB, replicas)
        await asyncio.sleep(0)
    assert server.metric("kdm_streams_closed_total", reason="hang-up") == 1
