"""A browser for all tests, and a page of its own for each."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
from attrs import define
from playwright.async_api import Browser, Page, async_playwright, expect

from integration.clients import node
from integration.unavailable import unavailable

from . import chromium
from .world import World, started

TIMEOUT_MS: Final = 20_000
HERE: Final = Path(__file__).parent

expect.set_options(timeout=TIMEOUT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run every test on the loop that the browser belongs to."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Debian's Chromium. Without one the test is skipped; in CI it fails."""
    found = chromium.find()
    if found is None:
        unavailable(f"the page's tests need Chromium, and there is none: apt-get install {chromium.PACKAGE}")
    arguments = ["--disable-gpu"]  # where there is none, to act as if there were takes a tenth of the time
    if os.getuid() == 0:
        arguments.append("--no-sandbox")  # root has no sandbox
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=arguments)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core."""
    return (node.modules(HERE) / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


@define
class Opened:
    """A page that is open, and the kdm behind it."""

    page: Page
    world: World


@pytest_asyncio.fixture(loop_scope="session")
async def open_page(browser: Browser) -> AsyncIterator[Callable[..., Any]]:
    """Open the page on a kdm of its own. What goes wrong in the page fails the test."""
    async with contextlib.AsyncExitStack() as stack:
        errors: list[str] = []

        async def opened(
            hash_: str = "", *, width: int = 1280, height: int = 800, dark: bool = False, live: bool = True, **how: Any
        ) -> Opened:
            world = await stack.enter_async_context(started(**how))
            context = await browser.new_context(
                viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light"
            )
            stack.push_async_callback(context.close)
            page = await context.new_page()
            page.set_default_timeout(TIMEOUT_MS)
            page.on("pageerror", lambda error: errors.append(str(error)))
            page.on(
                "console", lambda message: errors.append(message.text) if "Content Security" in message.text else None
            )
            page.on("request", lambda request: _note(world, request))
            await page.goto(world.ui.address)
            await page.wait_for_url("**/ui")
            if hash_:
                await page.goto(f"{world.url}/ui#{hash_}")
            if live:
                await page.locator(".health[data-is=live]").wait_for()
            return Opened(page, world)

        yield opened
    assert not errors


def _note(world: World, request: Any) -> None:
    if request.method in {"PUT", "POST"}:
        world.writes.append(
            {
                "method": request.method,
                "path": request.url.removeprefix(world.url).removeprefix("/api/v2"),
                "body": request.post_data_json,
                "key": request.headers.get("idempotency-key"),
            }
        )
