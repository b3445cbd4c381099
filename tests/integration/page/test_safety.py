"""What a page elsewhere, another user of the machine, or whoever writes a label or a reason can do: nothing."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, expect

from integration.kdm_process import CERTS, KdmProcess
from kdm_core import LastChange
from kdm_core.labels import Labels
from kdm_core.model import DeploymentCondition

from .test_table import row
from .world import started

HOSTILE = [
    "<img src=x onerror=document.title='owned'><script>document.title='owned'</script>",
    "\u202egnirts desrever\u202c \u2066isolated\u2069 \u200bzero width",
    "x" * 10_000,
    "a\nb\tc\u0000d\u001b[31m",
]


@pytest.mark.parametrize("text", HOSTILE, ids=["html", "direction", "long", "control"])
async def test_labels_and_reasons_are_text_and_nothing_else(open_page: Callable[..., Any], text: str) -> None:
    opened = await open_page("open=shop/checkout")
    page, world = opened.page, opened.world
    width = await page.evaluate("document.documentElement.scrollWidth")
    world.store(
        "shop/checkout",
        labels=Labels({"note": text}),
        last_change=LastChange(1_700_000_000, text, text, text),
        replica_failure=DeploymentCondition("True", "FailedCreate", text),
    )
    shown = row(page, "shop/checkout").locator(".c-change")
    await expect(shown).to_contain_text(
        re.compile(re.escape(text[:5]) if text[0] not in "\u202ea" else r"\\u202e|a b c")
    )
    side = page.get_by_role("complementary")
    await expect(side).to_contain_text("note=")
    whole = await page.locator("body").inner_text()
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200b\u0000\u001b]", whole)
    assert await page.title() == "kdm · staging-eu"
    assert await page.locator("#body img, #body script, #side script, #side img:not(svg)").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth") == width
    assert (await row(page, "shop/checkout").bounding_box())["height"] == 44


async def test_a_page_of_another_origin_can_neither_read_nor_write(
    open_page: Callable[..., Any],
) -> None:
    """Another port of loopback is another origin of the same site: the strictest cookie is sent along."""
    opened = await open_page()
    page, world = opened.page, opened.world
    answered = asyncio.Event()

    async def elsewhere(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 4\r\nconnection: close\r\n\r\nevil"
        )
        await writer.drain()
        writer.close()
        answered.set()

    server = await asyncio.start_server(elsewhere, "127.0.0.1", 0)
    other = await page.context.new_page()
    await other.goto(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    await answered.wait()
    tries = """async ([url, method, type]) => { try {
        const options = {method, credentials: "include", mode: type === "text/plain" ? "no-cors" : "cors"};
        if (method !== "GET") Object.assign(options, {headers: {"content-type": type}, body: '{"replicas": 0}'});
        const answer = await fetch(url, options); return [answer.type, await answer.text()];
      } catch (error) { return ["failed", ""]; } }"""
    target = f"{world.url}/api/v2/namespaces/shop/deployments/checkout/replicas"
    assert await other.evaluate(tries, [target, "GET", ""]) == ["failed", ""]
    assert await other.evaluate(tries, [target, "PUT", "application/json"]) == ["failed", ""]
    assert (await other.evaluate(tries, [target.replace("replicas", "adjust"), "POST", "text/plain"]))[1] == ""
    assert world.find("shop/checkout").replicas.desired == 5
    framed = await other.evaluate(
        """url => new Promise(done => { const frame = document.createElement("iframe"); frame.src = url;
        frame.onload = () => { try { done(String(frame.contentDocument?.title)); } catch { done("blocked"); } };
        document.body.append(frame); })""",
        f"{world.url}/ui",
    )
    assert "kdm" not in framed
    server.close()
    await server.wait_closed()


async def test_the_token_is_in_no_list_of_processes_and_no_log(tmp_path: Path) -> None:
    with KdmProcess({}, tmp_path / "kdm.log") as kdm:
        arguments: list[str | Path] = [
            "--ca",
            CERTS / "dev-ca.pem",
            "--cert",
            CERTS / "dev-admin.pem",
            "--key",
            CERTS / "dev-admin-key.pem",
        ]
        ui = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "kdm_cli", "ui", "--server", kdm.url, *arguments,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=CERTS.parent,
        )  # fmt: skip
        assert ui.stdout is not None
        printed = b""
        while b"/open/" not in printed:
            printed += await ui.stdout.readline()
        address = re.search(rb"http://127\.0\.0\.1:\d+/open/(\S+)", printed)
        assert address is not None
        token = address[1]
        async with httpx.AsyncClient() as client:
            assert (await client.get(address[0].decode())).status_code == 200
            seen = await client.get(f"{address[0].decode().partition('/open')[0]}/api/v2")
            assert seen.json()["user"]["name"] == "dev-admin"
        for process in Path("/proc").glob("[0-9]*"):  # noqa: ASYNC240 - no disk
            try:
                assert token not in (process / "cmdline").read_bytes(), process
                if process.name == str(ui.pid):
                    assert token not in (process / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
        ui.terminate()
        _, errors = await ui.communicate()
        assert token not in errors
        assert token.decode() not in kdm.output()


async def test_the_page_on_the_mtls_port_reads_streams_and_writes_with_a_browsers_certificate(
    browser: Browser,
) -> None:
    async with started() as world:
        certificate = {
            "origin": world.api_url,
            "certPath": CERTS / "dev-admin.pem",
            "keyPath": CERTS / "dev-admin-key.pem",
        }
        context = await browser.new_context(client_certificates=[certificate], ignore_https_errors=True)  # type: ignore[list-item]
        page = await context.new_page()
        await page.goto(f"{world.api_url}/ui")
        await expect(page.locator("#health")).to_have_text(re.compile("^live"))
        await expect(page.get_by_role("banner")).to_contain_text("dev-admin")
        world.cluster.scale(world.find("shop/api").ref, 21)
        await expect(row(page, "shop/api").locator(".want")).to_have_text("21")
        await page.get_by_role("button", name="One more: shop/checkout").click(click_count=2)
        await expect(page.locator("#status")).to_have_text("shop/checkout: 5 → 7, done in 0 s")
        assert world.find("shop/checkout").replicas.desired == 7
        await context.close()
