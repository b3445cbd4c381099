"""`kdm ui`'s server: who is let in, what is passed on, and what is said where nothing can be."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest

from integration.page.world import World, access, ref, started
from kdm_adapters.remote.access import Access
from kdm_cli import loopback, ui
from kdm_http.page.files import page


async def _session(client: httpx.AsyncClient, world: World) -> str:
    answer = await client.get(world.ui.address)
    assert answer.status_code == 200
    return answer.headers["set-cookie"]


async def test_the_token_is_exchanged_once_for_a_cookie_that_scripts_cannot_read() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        assert (await client.get("/ui")).status_code == 401
        assert (await client.get("/api/v2/deployments")).json()["code"] == "unauthenticated"
        assert (await client.get("/open/wrong")).status_code == 403
        cookie = await _session(client, world)
        assert re.fullmatch(r"kdm-ui-\d+=[\w-]{43}; HttpOnly; SameSite=Strict; Path=/", cookie)
        assert world.ui.token not in cookie
        assert (await client.get(world.ui.address)).status_code == 403
        assert (await client.get("/ui")).status_code == 200
        assert (await client.get("/api/v2/deployments")).status_code == 200
        client.cookies.clear()
        wrong = {"cookie": cookie.partition(";")[0] + "x"}
        assert (await client.get("/ui", headers=wrong)).status_code == 401


async def test_a_name_that_leads_here_by_dns_is_refused() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        port = world.url.rpartition(":")[2]
        for host in ("rebound.test", f"rebound.test:{port}", "127.0.0.1", f"127.0.0.1.rebound.test:{port}", ""):
            assert (await client.get("/ui", headers={"host": host})).status_code in {400, 421}, host
            write = await client.put(
                "/api/v2/namespaces/shop/deployments/checkout/replicas", json={"replicas": 0}, headers={"host": host}
            )
            assert write.status_code in {400, 421}
        assert (await client.get("/ui", headers={"host": f"localhost:{port}"})).status_code == 200
        assert world.find("shop/checkout").replicas.desired == 5


async def test_each_answer_has_one_date_and_a_passed_one_has_kdms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page corrects ages by it: this machine's clock may be wrong."""
    monkeypatch.setattr(loopback, "formatdate", lambda **_: "Thu, 01 Jan 1970 00:00:00 GMT")
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        own = [await client.get(path, headers=fields) for path, fields in (("/ui", {}), ("/ui", {"host": "x"}))]
        assert [each.headers.get_list("date") for each in own] == [["Thu, 01 Jan 1970 00:00:00 GMT"]] * 2
        (passed,) = (await client.get("/api/v2")).headers.get_list("date")
        assert parsedate_to_datetime(passed).year > 2000


async def test_what_a_browser_sends_for_another_page_is_not_passed_on() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        path = "/api/v2/namespaces/shop/deployments/checkout/replicas"
        ours = {"origin": world.url, "sec-fetch-site": "same-origin"}
        for fields in (
            {"origin": "http://127.0.0.1:1"}, {"origin": "null"}, {"origin": world.url.replace("http", "https")},
            {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "none"},
        ):  # fmt: skip
            refused = await client.put(path, json={"replicas": 0}, headers=fields)
            assert (refused.status_code, refused.json()["code"]) == (403, "cross-origin"), fields
            assert refused.json()["written"] is False
        assert (
            await client.put(path, content=b"{}", headers={"content-type": "text/plain", **ours})
        ).status_code == 415
        assert (await client.request("DELETE", path, headers=ours)).status_code == 404
        assert (await client.get("/deployments", headers=ours)).status_code == 404
        assert (await client.put(path, content=b" " * 70_000, headers=ours)).status_code == 413
        assert world.find("shop/checkout").replicas.desired == 5
        assert (await client.put(path, json={"replicas": 6}, headers=ours)).status_code == 200
        assert world.find("shop/checkout").replicas.desired == 6


async def test_a_kdm_that_does_not_answer_is_said_so_with_whether_anything_was_written() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        nobody = socket.create_server(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        nobody.close()
        world.ui.upstream.address = world.ui.upstream.address._replace(port=port)
        failed = await client.put("/api/v2/namespaces/shop/deployments/checkout/replicas", json={"replicas": 6})
        assert (failed.status_code, failed.json()["code"], failed.json()["written"]) == (502, "unreachable", False)
        assert failed.json()["detail"].startswith(f"nothing listens at localhost:{port}")


async def test_files_are_given_compressed_and_once() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        assert (await client.get("/")).headers["location"] == "/ui"
        index = await client.get("/ui")
        assert "staging-eu" in index.text
        for path in ("/ui", f"/ui/{page('staging-eu').directory}/app.js"):
            found = await client.get(path, headers={"accept-encoding": "gzip"})
            assert (found.status_code, found.headers["content-encoding"]) == (200, "gzip")
            again = await client.get(path, headers={"accept-encoding": "gzip", "if-none-match": found.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert (await client.get("/ui/0123456789abcdef/app.js")).status_code == 404
        assert (await client.post("/ui")).status_code == 404


async def test_a_stream_is_passed_on_as_it_comes_and_ends_when_the_browser_leaves() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        async with client.stream("GET", "/api/v2/deployments?watch=true") as answer:
            assert answer.headers["content-type"] == "text/event-stream"
            text = ""
            async for piece in answer.aiter_text():
                text += piece
                if "event: synced" in text and "modified" not in text:
                    world.cluster.scale(ref("shop/checkout"), 9)
                if "event: modified" in text:
                    break
        assert "event: present" in text
        assert world.ui.upstream._now is not None
        open_streams = world.ui.upstream._now.pool.connections
        while any(not each.is_idle() and not each.is_closed() for each in open_streams):  # noqa: ASYNC110 - httpcore tells nobody
            await asyncio.sleep(0)


async def test_a_browser_that_leaves_during_the_handshake_leaves_no_connection_open() -> None:
    """Where kdm does not answer yet: what was begun is closed, not left for the garbage collector."""
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        met: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        silent = await asyncio.start_server(lambda *streams: met.put_nowait(streams), "127.0.0.1", 0)
        port = silent.sockets[0].getsockname()[1]
        world.ui.upstream.address = world.ui.upstream.address._replace(host="127.0.0.1", port=port)
        asking = asyncio.create_task(client.get("/api/v2"))
        reader, writer = await met.get()
        asking.cancel()
        await asyncio.wait([asking])
        hello = await asyncio.wait_for(reader.read(), 20)  # to the end
        assert hello[:1] == b"\x16"
        writer.close()
        silent.close()


async def test_a_renewed_certificate_is_used_from_the_next_request_on(tmp_path: Path) -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        mine = access("https://localhost")
        files = [tmp_path / name for name in ("ca.pem", "cert.pem", "key.pem")]
        for source, copy in zip(mine[1:], files, strict=True):
            shutil.copy(str(source), copy)
        world.ui.upstream.access = Access(world.api_url, *files)
        assert (await client.get("/api/v2")).json()["user"]["name"] == "dev-admin"
        viewer = access("https://localhost", "dev-viewer")
        for source, copy in zip(viewer[2:], files[1:], strict=True):
            shutil.copy(str(source), copy)
            os.utime(copy, ns=(1, 1))
        assert (await client.get("/api/v2")).json()["user"]["name"] == "dev-viewer"
        files[1].write_text("")  # as a file is for a moment that is written in place
        failed = await client.put("/api/v2/namespaces/shop/deployments/checkout/replicas", json={"replicas": 6})
        assert (failed.status_code, failed.json()["written"]) == (403, False)
        assert world.find("shop/checkout").replicas.desired == 5


def test_what_cannot_be_shown_is_said_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert ui.show(Access("http://kdm.test")) == 2
    assert "https://" in capsys.readouterr().err
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert ui.show(access("https://localhost:1"), port=taken.getsockname()[1]) == 1
    assert capsys.readouterr().err.startswith("kdm: cannot listen on 127.0.0.1:")
    assert ui.show(Access("https://kdm.test", cert="/nowhere.pem")) == 2
    assert "/nowhere.pem cannot be read" in capsys.readouterr().err


async def _raw(world: World, cookie: str, target: str, *, fields: str = "") -> bytes:
    """Send a request whose target no client's library would send, and return the whole answer."""
    port = int(world.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"GET {target} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncookie: {cookie}\r\nconnection: close\r\n{fields}\r\n"
    writer.write(head.encode())
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_path_with_dot_segments_leads_nowhere() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        cookie = (await _session(client, world)).partition(";")[0]
        for target in (
            "/api/v2/../../deployments", "/api/v2/../v1/deployments", "/api/v2//../deployments",
            "/api/v2/./deployments", "/api/v2/%2e%2e/v1/deployments", "/api/v2/..", "/problems/../deployments",
        ):  # fmt: skip
            assert (await _raw(world, cookie, target)).startswith(b"HTTP/1.1 404 "), target
        assert (await _raw(world, cookie, "/api/v2/deployments")).startswith(b"HTTP/1.1 200 ")


async def test_cookies_of_others_on_this_host_lock_nobody_out_and_let_nobody_in() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        cookie = (await _session(client, world)).partition(";")[0]
        name = cookie.partition("=")[0]
        for others in ("a[b]=1", 'j={"a": "b"}', "j=a b", f"{name}=of-another", f"{name}", "=;;", "\u00e9=1"):
            for both in (f"{others}; {cookie}", f"{cookie}; {others}"):
                assert (await _raw(world, both, "/ui")).startswith(b"HTTP/1.1 200 "), both
            assert (await _raw(world, others, "/ui")).startswith(b"HTTP/1.1 401 "), others
        assert (await _raw(world, f'x="{cookie}"', "/ui")).startswith(b"HTTP/1.1 401 ")


async def test_a_stream_that_is_open_at_the_end_or_breaks_off_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        async with client.stream("GET", "/api/v2/deployments?watch=true") as answer:
            lines = answer.aiter_lines()
            await anext(lines)
            world.ui.server.should_exit = True
            with pytest.raises(httpx.HTTPError):
                async for _ in lines:
                    pass
    assert [each.message for each in caplog.records if each.name == "uvicorn.error"] == []


async def test_what_is_passed_back_runs_no_script_when_it_is_opened_as_a_page() -> None:
    async with started() as world, httpx.AsyncClient(base_url=world.url) as client:
        await _session(client, world)
        for path in ("/problems/", "/api/v2/deployments", "/api/v2/none"):
            policy = (await client.get(path)).headers["content-security-policy"]
            assert policy == "default-src 'none'; frame-ancestors 'none'"
