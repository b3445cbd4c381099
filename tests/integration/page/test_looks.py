"""How the page looks in each state: axe finds nothing in it, it fits its window, and a picture of it can be kept.

With ``KDM_PAGE_PICTURES`` set to a directory the pictures are written there: those of the documentation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from . import scene
from .test_table import row
from .world import World

Prepare = Callable[[Page, World], Awaitable[None]]

AXE: Final = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
PICTURES: Final = os.environ.get("KDM_PAGE_PICTURES", "")


async def _list(_: Page, __: World) -> None:
    pass


async def _open_full(page: Page, world: World) -> None:
    await page.get_by_role("button", name="shop/api: open").click()
    side = page.get_by_role("complementary")
    await expect(side).to_contain_text("The policy allows")
    for desired in (9, 12):
        world.cluster.scale(world.find("shop/api").ref, desired)
        await expect(side.locator("dd").first).to_have_text(str(desired))
        world.store("shop/api", replicas=scene.counts(desired, desired - 2))
    await expect(side).to_contain_text("9 → 12")


async def _plan(page: Page, _: World) -> None:
    for key in ("shop/checkout", "shop/storefront", "payments/fraud-scoring"):
        await row(page, key).get_by_role("checkbox").check()
    await page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Multiply by").check()
    await expect(dialog).to_contain_text("8→12")


async def _zero(page: Page, _: World) -> None:
    await page.get_by_role("button", name="Set the count of shop/api").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Amount").fill("0")
    await expect(dialog).to_contain_text("goes to zero")
    await expect(dialog).to_contain_text("The policy allows")


async def _keys(page: Page, _: World) -> None:
    await page.keyboard.press("?")


async def _parked(page: Page, _: World) -> None:
    await page.get_by_role("button", name="Parked batches").click()
    await expect(page.get_by_role("complementary")).not_to_contain_text("Reading")


async def _nothing(page: Page, _: World) -> None:
    await page.get_by_label("Search name or label").fill("no such thing")
    await expect(page.get_by_text("No Deployment is like that.")).to_be_visible()


async def _lost(page: Page, world: World) -> None:
    await page.context.set_offline(True)
    world.cut()
    await expect(page.locator("#health")).to_contain_text("disconnected since")


STATES: Final[Mapping[str, Prepare]] = {
    "list": _list,
    "open": _open_full,
    "plan": _plan,
    "zero": _zero,
    "keys": _keys,
    "parked": _parked,
    "nothing": _nothing,
    "lost": _lost,
}


PICTURED: Final[Mapping[str, str]] = {
    "list": "body",
    "open": "#side",
    "plan": "#dialog",
    "zero": "#dialog",
    "keys": "#dialog",
    "parked": "#side",
    "nothing": "main",
    "lost": ".banner",
}
"""What is pictured of each state, by its selector, where the window is wide."""

NARROW: Final = frozenset({"list", "open", "lost"})
"""What is pictured where it is narrow: the whole window."""


@pytest.mark.parametrize(
    ("width", "dark"),
    [
        pytest.param(360, True, id="360-dark"),
        pytest.param(1600, False, id="1600-light"),
        pytest.param(360, False, id="360-light", marks=pytest.mark.nightly),
        pytest.param(1600, True, id="1600-dark", marks=pytest.mark.nightly),
    ],
)
async def test_every_state_fits_its_window_and_axe_finds_nothing(
    open_page: Callable[..., Any], axe: str, width: int, dark: bool
) -> None:
    opened = await open_page(
        width=width, height=740 if width == 360 else 820, dark=dark, owners=True, settings={"PARKING": "memory"}
    )
    page, world = opened.page, opened.world
    scene.fill(world)
    await expect(row(page, "shop/api")).to_contain_text("alice" if width > 719 else "settled")
    await page.evaluate(axe)
    problems: list[tuple[object, ...]] = []
    for name, prepare in STATES.items():
        await prepare(page, world)
        problems += [(name, *each) for each in await _judged(page)]
        if PICTURES:
            pictured = "body" if width == 360 else PICTURED[name]
            where = Path(PICTURES) / f"{name}-{'narrow' if width == 360 else 'wide'}-{'dark' if dark else 'light'}.png"
            if width != 360 or name in NARROW:
                await (page if pictured == "body" else page.locator(pictured)).screenshot(path=where)
        await _leave(page)
    assert not problems


async def _judged(page: Page) -> list[tuple[object, ...]]:
    """Return what is wrong: what is wider than the window, and what axe finds."""
    widest, window = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    found = await page.evaluate("options => axe.run(document, options)", AXE)
    problems = [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found["violations"]]
    return [*problems, *([("wider than the window", widest)] if widest > window else [])]


async def _leave(page: Page) -> None:
    """Back to the list."""
    await page.context.set_offline(False)
    await page.keyboard.press("Escape")
    await page.evaluate("location.hash = ''; dispatchEvent(new PopStateEvent('popstate'))")
    await page.evaluate("document.querySelector('dialog').close()")
    # In one step: it may come back by itself at any moment, and the button goes.
    await page.locator("#retry").evaluate("each => { if (!each.hidden) each.click(); }")
    await expect(page.locator("#health")).to_have_text(re.compile("^live"))
    clear = page.get_by_role("button", name="Clear")
    if await clear.is_visible() and await clear.get_attribute("aria-disabled") is None:
        await clear.click()
    await expect(row(page, "shop/api")).to_be_visible()


async def test_motion_can_be_turned_off_and_colours_chosen(open_page: Callable[..., Any]) -> None:
    page = (await open_page()).page
    await expect(row(page, "shop/api")).to_be_visible()
    speed = "getComputedStyle(document.querySelector('.bar i')).transitionDuration"
    ground = "getComputedStyle(document.body).backgroundColor"
    assert await page.evaluate(speed) == "0.12s"
    light = await page.evaluate(ground)
    await page.keyboard.press("?")
    await page.get_by_role("group", name="Motion").get_by_label("none").check()
    await page.get_by_role("group", name="Colours").get_by_label("dark").check()
    assert await page.evaluate(speed) == "0s"
    assert await page.evaluate(ground) != light
    await page.reload()
    await expect(row(page, "shop/api")).to_be_visible()
    assert await page.evaluate(speed) == "0s"
    await page.keyboard.press("?")
    await page.get_by_role("group", name="Motion").get_by_label("as the system").check()
    assert await page.evaluate(speed) == "0.12s"
    await page.emulate_media(reduced_motion="reduce")
    assert await page.evaluate(speed) == "0s"
