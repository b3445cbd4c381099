"""Odd values: in the address, in names, in counts, in clocks, in the stream, in what the browser does with a tab."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from kdm_adapters.memory import MemoryCluster
from kdm_core import DeploymentRef, LastChange
from kdm_core.labels import Labels
from kdm_core.parked import Parked

from .test_looks import _judged
from .test_once import _before
from .test_table import many, row
from .world import ref


@pytest.mark.parametrize("name", ["hasOwnProperty", "__proto__", "constructor", "-", "nothing"])
async def test_an_address_with_an_order_that_is_none_shows_the_usual_one(
    open_page: Callable[..., Any], name: str
) -> None:
    page = (await open_page(f"sort={name}&tile={name}&ns=&q=")).page
    await expect(page.locator("#count")).to_have_text("12 Deployments")
    await expect(page.get_by_role("columnheader", name="Deployment")).to_have_attribute("aria-sort", "ascending")


def named(cluster: MemoryCluster) -> None:
    """What is a property of every object in JavaScript."""
    for namespace, name in (("constructor", "constructor"), ("tostring", "valueof"), ("shop", "hasownproperty")):
        cluster.create(DeploymentRef(namespace, name), 2, labels={"__proto__": "constructor", "constructor": "x"})
        cluster.settle(DeploymentRef(namespace, name))


async def test_names_that_javascript_has_of_its_own_are_names_as_any_other(open_page: Callable[..., Any]) -> None:
    opened = await open_page(fill=named)
    page, world = opened.page, opened.world
    await expect(page.locator("#count")).to_have_text("3 Deployments")
    await page.get_by_label("Namespace").select_option("constructor")
    await expect(page.locator(".body > .row")).to_have_count(1)
    await page.get_by_role("button", name="constructor/constructor: open").click()
    side = page.get_by_role("complementary", name="constructor / constructor")
    await expect(side).to_contain_text("__proto__=constructor")
    await page.get_by_role("button", name="One more: constructor/constructor").click()
    await expect(row(page, "constructor/constructor")).to_contain_text("2 → 3, done")
    assert world.find("constructor/constructor").replicas.desired == 3


def largest(cluster: MemoryCluster) -> None:
    """As many as there can be."""
    cluster.create(DeploymentRef("shop", "most"), 2_147_483_647)
    cluster.create(DeploymentRef("shop", "hundred-thousand"), 123_456)


@pytest.mark.parametrize("width", [360, 1360])
async def test_the_largest_counts_are_not_cut(open_page: Callable[..., Any], width: int) -> None:
    page = (await open_page(fill=largest, settle=False, width=width)).page
    for key, short, exact in (("most", "2.15B", "2,147,483,647"), ("hundred-thousand", "123K", "123,456")):
        want = row(page, f"shop/{key}").locator(".want")
        await expect(want).to_have_text(short)
        await expect(want).to_have_attribute("title", exact)
        for shown in (want, row(page, f"shop/{key}").locator(".c-available")):
            assert await shown.evaluate("e => e.scrollWidth <= e.clientWidth")


async def test_what_is_invisible_is_written_out_and_emoji_are_left_whole(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    change = LastChange(int(time.time()), "kdm", "a\u3164b\u00adc\ufe0fd", "👩‍💻 ❤️ 👍🏽 \U000e0041z")
    world.store("shop/checkout", last_change=change)
    await expect(row(page, "shop/checkout").locator(".c-change")).to_have_text(
        "just now · a\\u3164b\\u00adc\\ufe0fd · 👩‍💻 ❤️ 👍🏽 \\ue0041z"
    )
    world.store("shop/checkout", labels=Labels({"l": "😀" * 6000}))
    await page.get_by_role("button", name="shop/checkout: open").click()
    await expect(page.get_by_role("complementary")).to_contain_text("l=😀")
    assert not re.search("[\ud800-\udfff]|\\\\ud83d", await page.get_by_role("complementary").inner_text())


@pytest.mark.parametrize("hours", [-5, 5])
async def test_ages_are_right_where_the_browsers_clock_is_wrong(
    open_page: Callable[..., Any], browser: Browser, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    _before(browser, monkeypatch, f"const right = Date.now; Date.now = () => right() + {hours * 3_600_000};")
    opened = await open_page()
    page, world = opened.page, opened.world
    world.store("shop/checkout", last_change=LastChange(int(time.time()) - 7250, "kdm", "alice"))
    await expect(row(page, "shop/checkout").locator(".c-change")).to_have_text("2 h ago · alice")


async def test_an_event_that_makes_no_sense_has_everything_read_again(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await expect(row(page, "shop/checkout")).to_be_visible()
    asked: list[str | None] = []

    async def once(route: Any) -> None:
        asked.append(route.request.headers.get("last-event-id"))
        if len(asked) == 1:
            body = "id: 1\nevent: modified\ndata: {oops\n\n"
            await route.fulfill(status=200, content_type="text/event-stream", body=body)
        else:
            await route.continue_()

    await page.route("**/api/v2/deployments?watch=true", once)
    world.cut()
    world.cluster.scale(ref("shop/checkout"), 9)
    await expect(row(page, "shop/checkout").locator(".want")).to_have_text("9")
    await expect(page.locator("#health")).to_have_text(re.compile("^live"))
    assert len(asked) == 2
    assert asked[0]
    assert asked[1] is None
    await expect(page.locator("#count")).to_have_text("12 Deployments")


SOON = """
const before = window.setTimeout;
window.setTimeout = (what, after, ...rest) => before(what, after === 10000 ? 1 : after, ...rest);
let is = "visible";
Object.defineProperty(document, "visibilityState", {get: () => is});
window.become = to => { is = to; document.dispatchEvent(new Event("visibilitychange")); };
"""
"""Lets a test hide the page, and hides it from nobody for long."""


async def test_a_tab_that_nobody_sees_leaves_its_connection_to_the_others_and_goes_on_where_it_was(
    open_page: Callable[..., Any], browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser opens six connections to a host, for all of its tabs: as many streams would leave none for a write."""
    _before(browser, monkeypatch, SOON)
    opened = await open_page()
    page, world = opened.page, opened.world
    await row(page, "shop/checkout").get_by_role("checkbox").check()
    world.cluster.scale(ref("shop/api"), 7)
    await expect(row(page, "shop/api").locator(".want")).to_have_text("7")
    async with page.expect_event("requestfailed", lambda request: "watch" in request.url):
        await page.evaluate("become('hidden')")
    await expect(page.locator("#health")).to_have_text(re.compile("^connecting"))
    world.cluster.scale(ref("shop/checkout"), 9)
    async with page.expect_request("**/api/v2/deployments?watch=true") as again:
        await page.evaluate("become('visible')")
    assert (await again.value).headers["last-event-id"]
    await expect(row(page, "shop/checkout").locator(".want")).to_have_text("9")
    await expect(page.locator("#health")).to_have_text(re.compile("^live"))
    await expect(page.locator(".picked")).to_have_text("1 selected")


async def test_a_page_that_was_frozen_catches_up(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    browser = await page.context.new_cdp_session(page)
    await expect(row(page, "shop/checkout")).to_be_visible()
    await browser.send("Page.setWebLifecycleState", {"state": "frozen"})
    for count in range(6, 30):
        world.cluster.scale(ref("shop/checkout"), count)
    world.cluster.delete(ref("shop/api"))
    world.cut()
    await browser.send("Page.setWebLifecycleState", {"state": "active"})
    await expect(row(page, "shop/checkout").locator(".want")).to_have_text("29")
    await expect(page.locator("#count")).to_have_text(re.compile("^11 Deployments"))


async def test_two_tabs_of_one_session_show_the_same(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    other = await page.context.new_page()
    await other.goto(f"{world.url}/ui")
    await expect(row(other, "shop/checkout")).to_be_visible()
    await page.get_by_role("button", name="One more: shop/checkout").click()
    for each in (page, other):
        await expect(row(each, "shop/checkout").locator(".want")).to_have_text("6")
    await expect(row(other, "shop/checkout")).to_contain_text("dev-admin")


async def test_more_than_one_change_can_have_are_not_cut_in_silence(open_page: Callable[..., Any]) -> None:
    opened = await open_page(fill=lambda cluster: many(cluster, 502))
    page = opened.page
    await expect(page.locator("#count")).to_have_text("502 Deployments")
    await page.get_by_label("Select all that are shown").check()
    await expect(page.locator(".picked")).to_have_text("500 selected")
    scale = page.get_by_role("button", name="Scale …")
    await expect(scale).not_to_have_attribute("aria-disabled", "true")
    await page.keyboard.press("End")
    await page.locator(".body > .row[aria-rowindex='503']").get_by_role("checkbox").check()
    await expect(page.locator(".picked")).to_have_text("501 selected")
    await expect(scale).to_have_attribute("title", "One change can have at most 500 Deployments.")


async def test_parked_batches_that_change_while_they_are_read_are_listed_once(open_page: Callable[..., Any]) -> None:
    opened = await open_page(settings={"PARKING": "memory"})
    page, world = opened.page, opened.world

    def park(key: str) -> None:
        world.lot.records.put(ref(key), Parked(world.find(key).uid, 3, int(time.time()), "bob", "", "night"))

    park("shop/checkout")
    held: list[Any] = []

    async def hold(route: Any) -> None:
        held.append(route)

    await page.route("**/api/v2/parked", hold)
    async with page.expect_request("**/api/v2/parked"):
        await page.get_by_role("button", name="Parked batches").click()
    async with page.expect_request("**/api/v2/parked"):
        park("shop/api")
    for each in held:
        await each.continue_()
    side = page.get_by_role("complementary", name="Parked batches")
    await expect(side).to_contain_text("shop/api at 3")
    await expect(side.locator("ul")).to_have_count(1)


async def test_marks_and_bars_are_seen_where_the_system_chooses_the_colours(
    open_page: Callable[..., Any], axe: str
) -> None:
    page = (await open_page()).page
    await page.emulate_media(forced_colors="active")
    await page.evaluate(axe)
    await page.route("**/replicas", lambda route: route.fulfill(status=503, body='{"detail": "x", "written": false}'))
    await page.get_by_role("button", name="One more: shop/api").click()
    await expect(row(page, "shop/api").get_by_role("button", name=re.compile("^Dismiss"))).to_be_visible()
    assert await _judged(page) == []
    await page.get_by_role("button", name="Set the count of shop/checkout").click()
    await expect(page.get_by_role("dialog")).to_contain_text("The policy allows")
    assert await _judged(page) == []
    await page.keyboard.press("Escape")
    here = row(page, "shop/checkout")
    ground = "e => getComputedStyle(e).backgroundColor"
    canvas = await page.locator("body").evaluate(ground)
    assert await here.locator(".c-state .mark").evaluate(ground) != canvas
    assert await here.locator(".bar i").evaluate(ground) != canvas
    chosen = await page.get_by_role("button", name="12 all").evaluate("e => getComputedStyle(e).outlineStyle")
    assert chosen == "solid"
