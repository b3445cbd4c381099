"""The reflector on a server that speaks the real wire formats: it does what the watch state decides, whatever comes."""

from __future__ import annotations

import pytest

from kdm_adapters.kubernetes import Tuning
from kdm_adapters.kubernetes.wire.readers import PROTOBUF
from kdm_core.model import ChangeKind, DeploymentRef
from unit.adapters.kubernetes.api_server import (
    DEADLINE_S,
    Answer,
    ApiServer,
    answering,
    breaking,
    erring,
    hanging,
    refusing,
    streaming,
)
from unit.adapters.kubernetes.conftest import HurriedTime, MakeRepository, following, until, until_held
from unit.adapters.kubernetes.objects import deployment
from unit.adapters.kubernetes.watch.state_machine_driver import Recorder
from unit.adapters.kubernetes.wire.protobuf_objects import frame, text, watch_event, wrapped

LISTS = Tuning(watch_list=False)
BRISK = Tuning(silence_s=0.2, watch_list_deadline_s=0.2)
WEB = deployment("web", 3)
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"


@pytest.fixture(params=[True, False], ids=["protobuf", "json"], autouse=True)
def _in_either_format(request: pytest.FixtureRequest, server: ApiServer) -> None:
    """Every test here runs twice: on a server that knows Protocol Buffers, and on one that knows JSON alone."""
    server.protobuf = request.param


@pytest.mark.parametrize("tuning", [Tuning(), LISTS])
async def test_lists_watches_and_follows_what_happens(make: MakeRepository, server: ApiServer, tuning: Tuning) -> None:
    await server.change(lambda c: c.create("web"), lambda c: c.create("api"), lambda c: c.scale("web", 3))
    async with make(tuning=tuning) as repository:
        await until_held(repository, web=3, api=1)
        await server.watch()
        await server.change(lambda c: c.delete("api"), lambda c: c.create("db"), lambda c: c.scale("web", 5))
        await until_held(repository, web=5, db=1)
        assert server.count("list") == (0 if tuning.watch_list else 1)
        assert server.count("watch") == 1


async def test_a_watch_that_ends_or_breaks_is_resumed_without_a_list(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"))
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        for number in range(2, 5):
            watch = await server.watch(number - 1)
            server.cluster.scale("web", number)
            await server.notify()
            await until_held(repository, web=number)
            watch.abort() if number % 2 else await watch.end()
            await server.watch(number)
            assert server.queries("watch")[-1]["resourceVersion"] == str(server.cluster.version)
        assert server.count("list") == 0


async def test_deletions_missed_while_the_server_was_away_are_told(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"), lambda c: c.create("api"))
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        async with following(repository) as changes:
            while (await anext(changes)).kind is not ChangeKind.SYNCED:
                pass
            await server.stop()
            server.cluster.delete("api")
            server.cluster.compact()
            await server.start()
            change = await anext(changes)
        assert (change.kind, change.deployment and change.deployment.ref.name) == (ChangeKind.DELETED, "api")


@pytest.mark.parametrize(
    "fault",
    [
        refusing(429, "TooManyRequests"),
        refusing(500, "InternalError"),
        refusing(410, "Expired"),
        refusing(403, "Forbidden", "nobody cannot watch resource"),
        refusing(504, "Timeout", "Too large resource version: 9, current: 1"),
        answering(502, HTML, Content_Type="text/html"),
        answering(200, HTML, Content_Type="text/html"),
        answering(200, b""),
        answering(200, b"[]"),
        answering(200, b'{"kind":"PodList","metadata":{"resourceVersion":"1"},"items":[]}'),
        answering(200, b'{"kind":"DeploymentList","metadata":{"resourceVersion":"1"},"items":[{"met'),
        breaking,
        erring(500, "StoreReadError"),
        erring(410, "Expired"),
        erring(429, "TooManyRequests"),
        answering(200, b"", Content_Type=PROTOBUF),
        answering(200, b"k8s\x00", Content_Type=PROTOBUF),
        answering(200, HTML, Content_Type=PROTOBUF),
        answering(200, wrapped("v1", "PodList", text(1, text(2, "1"))), Content_Type=PROTOBUF),
        answering(
            200, wrapped("apps/v1", "DeploymentList", text(1, text(2, "1")) + text(2, "?"))[:-9], Content_Type=PROTOBUF
        ),
        streaming(lambda wire: wire.event("ADDED", WEB)[:100]),
        streaming(b"\xff\xfe\x00"),
        streaming(b"\xff\xff\xff\xff\x00"),
        streaming(b"\x00\x00\x00\x00\n"),
        streaming(b"\x00\x00\x00\x03\x0b\x0b\n"),
        streaming(b"null\n", b"3\n", b'"ADDED"\n'),
        streaming(lambda wire: wire.event("RENAMED", WEB)),
        streaming(lambda wire: wire.bookmark("")),
        streaming(frame(watch_event("ADDED", b"no object"))),
        streaming(frame(watch_event("ADDED", wrapped("v1", "Pod", b"")))),
    ],
)
@pytest.mark.parametrize("verb", ["list", "watch"])
async def test_survives_any_fault_of_a_list_or_watch(
    make: MakeRepository, server: ApiServer, verb: str, fault: Answer
) -> None:
    """Three in a row at the start and one later: it never freezes, never loops, and ends up right."""
    server.watch_lists = False
    server.faults[verb].extend([fault] * 3)
    await server.change(lambda c: c.create("web"))
    async with make() as repository:
        await until_held(repository, web=1)
        server.faults[verb].append(fault)
        watch = await server.watch()
        await watch.end()
        await server.change(lambda c: c.create("api"), lambda c: c.scale("web", 4))
        await until_held(repository, web=4, api=1)
    assert len(server.requests) < 40


async def test_a_refused_connection_is_retried_with_backoff_and_without_a_list(
    make: MakeRepository, server: ApiServer, hurried: HurriedTime
) -> None:
    told = Recorder()
    await server.change(lambda c: c.create("web"))
    async with make(instrument=told) as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        await server.stop()
        await until(lambda: len(hurried.slept_s) >= 6)
        assert not repository.sync_status().connected
        assert "cannot be reached" in repository.sync_status().reason
        await server.start()
        await server.change(lambda c: c.scale("web", 2))
        await until_held(repository, web=2)
    assert told.lists == [("watch-list", "initial")]
    for i, slept_s in enumerate(hurried.slept_s[1:6]):
        assert 0.8 * 2**i <= slept_s < 4 * 0.8 * 2**i


async def test_a_server_without_watch_lists_is_listed(make: MakeRepository, server: ApiServer) -> None:
    server.watch_lists = False
    await server.change(lambda c: c.create("web"))
    async with make() as repository:
        await until_held(repository, web=1)
        await server.watch()
    assert [request.verb for request in server.requests] == ["watch", "list", "watch"]


async def test_a_server_that_ignores_the_parameter_is_listed_after_a_deadline(
    make: MakeRepository, server: ApiServer
) -> None:
    server.bookmarks = False
    await server.change(lambda c: c.create("web"))
    async with make(tuning=BRISK) as repository:
        await until_held(repository, web=1)
    assert server.count("list") == 1


async def test_pages_are_read_one_by_one(make: MakeRepository, server: ApiServer) -> None:
    for i in range(10):
        server.cluster.create(f"web-{i}")
    async with make(tuning=Tuning(watch_list=False, page_size=4)) as repository:
        await repository.wait_synced(DEADLINE_S)
        assert len(repository.list()) == 10
    assert server.queries("list") == [
        {"resourceVersion": "0", "limit": "4"},
        {"continue": "11:4", "limit": "4"},
        {"continue": "11:8", "limit": "4"},
    ]


@pytest.mark.parametrize("fault", [hanging, streaming(end=False)])
async def test_a_dead_upstream_is_noticed_by_its_silence(
    make: MakeRepository, server: ApiServer, fault: Answer
) -> None:
    """Whether the answer's head never comes, or nothing after it: a black hole, a frozen server, a dead upstream."""
    told = Recorder()
    await server.change(lambda c: c.create("web"))
    async with make(tuning=Tuning(silence_s=0.5), instrument=told) as repository:
        await until_held(repository, web=1)
        server.faults["watch"].append(fault)
        await (await server.watch()).end()
        await server.until(lambda: server.count("watch") == 2)
        await server.change(lambda c: c.scale("web", 8))
        await until_held(repository, web=8)
        assert "silent" in told.ends
        assert server.count("list") == 0


async def test_a_truncated_event_is_read_again_by_the_next_watch(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"))
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        watch = await server.watch()
        event = watch.format.event("MODIFIED", deployment("web", 3, uid="uid-1", desired=9))
        await watch.send(event[:100])
        await watch.end()
        server.cluster.scale("web", 9)
        await until_held(repository, web=9)
        assert server.count("list") == 0


async def test_an_event_may_come_in_any_pieces(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        watch = await server.watch()
        told = watch.format.event("ADDED", WEB) + watch.format.bookmark(7)
        for i in range(0, len(told), 17):
            await watch.send(told[i : i + 17])
        await until_held(repository, web=1)
        await until(lambda: repository.sync_status().resource_version == "7")


async def test_an_object_of_two_megabytes_is_read(make: MakeRepository, server: ApiServer) -> None:
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        watch = await server.watch()
        big = deployment("web", 3, desired=6)
        await watch.send(watch.format.event("ADDED", big, annotations={"blob": "x" * 2 * 2**20}))
        await until_held(repository, web=6)


async def test_a_poisoned_event_is_followed_by_one_relist(make: MakeRepository, server: ApiServer) -> None:
    told = Recorder()
    await server.change(lambda c: c.create("web"), lambda c: c.create("api"))
    async with make(instrument=told) as repository:
        await repository.wait_synced(DEADLINE_S)
        watch = await server.watch()
        server.cluster.scale("web", 7)
        watch.cursor = server.cluster.version
        await watch.send(watch.format.poisoned("MODIFIED", deployment("web", watch.cursor)))
        await until_held(repository, web=7, api=1)
        assert told.undecodable == 1
        assert [reason for _, reason in told.lists] == ["initial", "undecodable"]


async def test_only_the_selected_deployments_are_asked_for(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web", team="a"), lambda c: c.create("api", team="b"))
    async with make(label_selector="team=a") as repository:
        await until_held(repository, web=1)
        assert server.queries("watch")[0]["labelSelector"] == "team=a"


async def test_each_namespace_is_watched_on_its_own(make: MakeRepository, server: ApiServer) -> None:
    await server.change(lambda c: c.create("web"), lambda c: c.create("blog/web"), lambda c: c.create("other/web"))
    async with make(namespaces=["shop", "blog"]) as repository:
        await repository.wait_synced(DEADLINE_S)
        assert [str(each.ref) for each in repository.find("web")] == ["blog/web", "shop/web"]
        assert {request.path for request in server.requests} == {
            "/apis/apps/v1/namespaces/blog/deployments",
            "/apis/apps/v1/namespaces/shop/deployments",
        }
        await server.until(lambda: len(server.watches) == 2)
        await server.change(lambda c: c.scale("blog/web", 3))
        await until(lambda: repository.get(DeploymentRef("blog", "web")).replicas.desired == 3)


async def test_protocol_buffers_are_asked_for_and_json_is_welcome(make: MakeRepository, server: ApiServer) -> None:
    """Lists and watches name both, the better one first; what else there is stays JSON."""
    server.watch_lists = False
    await server.change(lambda c: c.create("web"))
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        await server.watch()
        await repository.set_replicas(DeploymentRef("shop", "web"), 4)
    accepted = {request.verb: request.headers["accept"] for request in server.requests}
    assert accepted == {
        "watch": f"{PROTOBUF};stream=watch, application/json;stream=watch;q=0.9, application/json;q=0.8",
        "list": f"{PROTOBUF}, application/json;q=0.9",
        "patch": "application/json",
    }


async def test_a_server_may_change_the_format_from_answer_to_answer(make: MakeRepository, server: ApiServer) -> None:
    """As behind a gateway, or while a cluster is upgraded."""
    await server.change(lambda c: c.create("web"))
    async with make() as repository:
        await repository.wait_synced(DEADLINE_S)
        for number in range(2, 6):
            watch = await server.watch(number - 1)
            server.protobuf = not server.protobuf
            await watch.end()
            await server.watch(number)
            await server.change(lambda c, desired=number: c.scale("web", desired))  # type: ignore[misc]
            await until_held(repository, web=number)
    assert server.count("list") == 0


async def test_a_refusal_is_explained_in_its_own_words(make: MakeRepository, server: ApiServer) -> None:
    server.standing_faults["watch"] = server.standing_faults["list"] = refusing(500, "InternalError", "etcd is on fire")
    async with make() as repository:
        await until(lambda: server.count("list") > 1)
        assert "etcd is on fire" in repository.sync_status().reason


async def test_an_event_cut_off_anywhere_is_read_again(make: MakeRepository, server: ApiServer) -> None:
    """At every byte of the event and of the bookmark after it: what was whole counts, what was not does not."""
    await server.change(lambda c: c.create("web"))
    async with make(tuning=Tuning()) as repository:
        await repository.wait_synced(DEADLINE_S)
        length = len((await server.watch()).format.event("MODIFIED", server.cluster.state["web"]))
        for number, cut in enumerate(range(0, length, 7), start=2):
            watch = await server.watch(number - 1)
            server.cluster.scale("web", number)
            await watch.send(watch.format.event("MODIFIED", server.cluster.state["web"])[:cut])
            await watch.end()
            await until_held(repository, web=number)
    assert server.count("list") == 0
