"""Ten thousand rows that change a hundred times a second: the page stays right and small. Times are a benchmark's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.async_api import expect

from .many import NUMBER, changing, fill
from .test_table import row

CHANGES = 300


async def test_the_page_stays_right_while_ten_thousand_rows_change(open_page: Callable[..., Any]) -> None:
    opened = await open_page("sort=-desired", fill=fill)
    page, world = opened.page, opened.world
    async with changing(world) as done:
        await page.get_by_label("Search name or label").fill("service-0")
        await page.get_by_label("Search name or label").fill("")
        await page.keyboard.press("ArrowDown")
        while done[0] < CHANGES:
            await page.keyboard.press("j")
            await page.mouse.wheel(0, 400)
            await page.evaluate("new Promise(requestAnimationFrame)")
            assert await page.locator(".body > .row").count() < 80
    assert await page.evaluate("document.querySelectorAll('*').length") < 3000
    await page.evaluate("scrollTo(0, 0)")
    await page.locator(".banner").hover()
    await page.get_by_role("button", name="Deployment", exact=True).click()
    await expect(page.locator("#count")).to_have_text(re.compile(f"^{NUMBER:,} Deployments"))
    for number in range(3):
        key = f"team-00/service-{number * 50:05}"
        await expect(row(page, key).locator(".want")).to_have_text(str(world.find(key).replicas.desired))
