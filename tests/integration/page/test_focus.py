"""The focus and the keyboard's place: they belong to a Deployment, and neither is lost nor goes to another one."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.async_api import Page, expect

from kdm_adapters.memory import MemoryCluster
from kdm_core import DeploymentRef

from .test_table import row
from .test_writes import status
from .world import ref

FOCUSED = "document.activeElement.closest('.body > .row')?.querySelector('.open').title ?? document.activeElement.id"


def counted(cluster: MemoryCluster) -> None:
    """Two hundred, of which none has the count of another."""
    for number in range(200):
        cluster.create(DeploymentRef("shop", f"service-{number:03}"), 1000 - number)
        cluster.settle(DeploymentRef("shop", f"service-{number:03}"))


async def test_a_dialog_gives_the_focus_back_to_its_deployment_wherever_that_is_by_then(
    open_page: Callable[..., Any],
) -> None:
    """Rows on screen are made of a few elements: the one that opened the dialog may show another Deployment later."""
    opened = await open_page("sort=-desired", fill=counted)
    page, world = opened.page, opened.world
    await page.get_by_role("button", name="Set the count of shop/service-003").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    world.cluster.scale(ref("shop/service-003"), 1)
    await expect(row(page, "shop/service-003")).to_have_count(0)
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await expect(page.get_by_role("button", name="shop/service-003: open")).to_be_focused()


async def test_in_the_place_of_a_row_that_leaves_the_list_the_next_one_has_the_focus(
    open_page: Callable[..., Any],
) -> None:
    opened = await open_page(settle=False)
    page, world = opened.page, opened.world
    for key in ("shop/api", "shop/checkout", "shop/storefront"):
        world.cluster.scale(ref(key), 9)
    await page.get_by_role("button", name="3 settling").click()
    await page.get_by_role("button", name="shop/checkout: open").focus()
    world.cluster.settle(ref("shop/checkout"))
    await expect(page.locator("#count")).to_have_text("2 of 12 Deployments")
    await expect(page.locator(".body > .row")).to_have_count(2)
    await expect(page.get_by_role("button", name="shop/storefront: open")).to_be_focused()


async def test_when_the_last_row_leaves_the_list_the_search_has_the_focus(open_page: Callable[..., Any]) -> None:
    opened = await open_page(settle=False)
    page, world = opened.page, opened.world
    world.cluster.scale(ref("shop/checkout"), 9)
    await page.get_by_role("button", name="1 settling").click()
    await page.get_by_role("button", name="shop/checkout: open").focus()
    world.cluster.settle(ref("shop/checkout"))
    await expect(page.get_by_text("No Deployment is like that.")).to_be_visible()
    await expect(page.locator(".body > .row")).to_have_count(0)
    await expect(page.locator("#search")).to_be_focused()


async def test_tab_reaches_a_row_also_when_the_one_before_is_filtered_out(open_page: Callable[..., Any]) -> None:
    page = (await open_page()).page
    await page.get_by_role("button", name="shop/api: open").focus()
    await page.keyboard.press("/")
    await page.keyboard.type("ledger")
    await expect(page.locator(".body > .row")).to_have_count(1)
    for _ in range(20):
        await page.keyboard.press("Tab")
        if await page.evaluate(FOCUSED) == "payments/ledger":
            break
    assert await page.evaluate(FOCUSED) == "payments/ledger"


async def test_keys_change_no_deployment_that_the_list_does_not_show(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await page.get_by_role("button", name="shop/checkout: open").focus()
    await page.keyboard.press("/")
    await page.keyboard.type("ledger")
    await expect(page.locator(".body > .row")).to_have_count(1)
    await page.evaluate("document.activeElement.blur()")
    await page.keyboard.press("+")
    await expect(status(page)).to_have_text("Choose a Deployment first: j and k go up and down the list.")
    await page.keyboard.press("s")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.keyboard.press("u")
    await expect(status(page)).to_contain_text("Open a Deployment first")
    assert world.writes == []


async def test_keys_in_the_panel_change_the_deployment_that_it_shows(open_page: Callable[..., Any]) -> None:
    opened = await open_page("open=shop/checkout")
    page, world = opened.page, opened.world
    side = page.get_by_role("complementary", name="shop / checkout")
    await expect(side).to_contain_text("The policy allows")
    await page.get_by_role("button", name="shop/api: open").click()
    await page.go_back()
    await expect(side).to_be_visible()
    await expect(side).to_be_focused()
    await page.keyboard.press("+")
    await expect(status(page)).to_contain_text("shop/checkout: 5 → 6, done")
    assert [each["path"].split("/")[4] for each in world.writes] == ["checkout"]


async def test_what_is_done_with_the_selected_keeps_the_focus(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await row(page, "shop/checkout").get_by_role("checkbox").check()
    scale = page.get_by_role("button", name="Scale …")
    await scale.focus()
    async with page.expect_request(re.compile(r"/api/v2$")):
        world.cut()
    await expect(page.locator("#health")).to_have_text(re.compile("^live"))
    await expect(scale).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(scale).to_be_focused()
    clear = page.get_by_role("button", name="Clear")
    await clear.press("Enter")
    await expect(page.locator(".picked")).to_have_text("")
    await expect(clear).to_be_focused()


async def test_what_is_deleted_is_selected_no_more(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    for key in ("shop/checkout", "shop/api"):
        await row(page, key).get_by_role("checkbox").check()
    world.cluster.delete(ref("shop/checkout"))
    await expect(page.locator(".picked")).to_have_text("1 selected")


async def test_a_key_that_is_held_confirms_once(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await page.get_by_role("button", name="Set the count of shop/checkout").focus()
    await page.keyboard.press("Enter")
    await page.keyboard.type("9")
    await expect(page.get_by_role("dialog")).to_contain_text("→9")
    for _ in range(20):
        await page.keyboard.down("Enter")
    await expect(status(page)).to_contain_text("shop/checkout: 5 → 9, done")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.keyboard.up("Enter")
    assert len(_real(world.writes)) == 1


def _real(writes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [each for each in writes if "dryRun" not in each["path"]]


async def _focus_is_visible(page: Page) -> bool:
    return bool(await page.evaluate("document.activeElement.matches(':focus-visible')"))


async def test_the_place_is_seen_after_a_dialog(open_page: Callable[..., Any]) -> None:
    page = (await open_page()).page
    await page.get_by_role("button", name="shop/checkout: open").focus()
    await page.keyboard.press("s")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("button", name="shop/checkout: open")).to_be_focused()
    assert await _focus_is_visible(page)
