"""The table: what a row shows, what is chosen and kept in the address, and that only what is on screen exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from kdm_adapters.memory import MemoryCluster
from kdm_core import DeploymentRef

from .world import ref


def row(page: Page, key: str) -> Any:
    """The row of a Deployment."""
    return page.locator(".body > .row").filter(has=page.get_by_role("button", name=f"{key}: open", exact=True))


def many(cluster: MemoryCluster, total: int = 10_000) -> None:
    """Ten thousand Deployments, or another number of them."""
    for number in range(total):
        cluster.create(DeploymentRef(f"team-{number % 50:02}", f"service-{number:05}"), number % 7)
        cluster.settle(DeploymentRef(f"team-{number % 50:02}", f"service-{number:05}"))


SAYINGS: Final = """
const seen = (window.sayings = []);
const look = () => {
  const empty = document.getElementById("empty");
  const said = empty && !empty.hidden ? empty.textContent.trim() : document.getElementById("count")?.textContent ?? "";
  if (said && said !== seen.at(-1)) seen.push(said);
  requestAnimationFrame(look);
};
look();
"""
"""Notes whatever the page says about which Deployments there are, frame by frame."""


async def test_while_it_loads_the_page_never_says_that_there_is_no_deployment(
    open_page: Callable[..., Any], browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = browser.new_context

    async def noting(**options: Any) -> BrowserContext:
        context = await plain(**options)
        await context.add_init_script(SAYINGS)
        return context

    monkeypatch.setattr(browser, "new_context", noting)
    for _ in range(5):
        page = (await open_page(fill=lambda cluster: many(cluster, 300))).page
        await expect(page.locator("#count")).to_have_text("300 Deployments")
        sayings = await page.evaluate("sayings")
        assert [each for each in sayings if not each.startswith("Reading the Deployments")] == ["300 Deployments"]


async def test_the_banner_says_which_kdm_who_i_am_and_that_it_is_live(open_page: Callable[..., Any]) -> None:
    page = (await open_page()).page
    banner = page.get_by_role("banner")
    await expect(banner).to_contain_text("kdm staging-eu")
    await expect(banner).to_contain_text("dev-admin · kdm:admins")
    await expect(banner.locator("#health")).to_have_text(re.compile("^live"))
    await expect(page).to_have_title("kdm · staging-eu")


async def test_a_row_says_in_words_what_its_bar_and_its_colours_show(open_page: Callable[..., Any]) -> None:
    opened = await open_page(settle=False)
    page, cluster = opened.page, opened.world.cluster
    await expect(row(page, "shop/checkout")).to_contain_text("5 of 5settled")
    await expect(row(page, "default/report-generator")).to_contain_text("0 of 0at zero")
    await expect(row(page, "payments/ledger")).to_contain_text("2 of 2settled, paused")
    cluster.scale(ref("shop/checkout"), 8)
    await expect(row(page, "shop/checkout")).to_contain_text("5 of 8settling")
    await expect(row(page, "shop/checkout").locator(".want")).to_have_text("8")
    await expect(row(page, "shop/checkout")).to_contain_text("just now · kubectl")
    cluster.step(ref("shop/checkout"))
    cluster.expire(ref("shop/checkout"))
    await expect(row(page, "shop/checkout")).to_contain_text("stalled")


async def test_tiles_count_and_filter(open_page: Callable[..., Any]) -> None:
    opened = await open_page(settle=False)
    page, cluster = opened.page, opened.world.cluster
    await expect(page.get_by_role("button", name="12 all")).to_have_attribute("aria-pressed", "true")
    await expect(page.get_by_role("button", name="1 at zero")).to_be_visible()
    cluster.scale(ref("shop/api"), 9)
    settling = page.get_by_role("button", name="1 settling")
    await settling.click()
    await expect(page.locator(".body > .row")).to_have_count(1)
    await expect(page.locator("#count")).to_have_text("1 of 12 Deployments")
    assert "tile=settling" in page.url
    cluster.settle(ref("shop/api"))
    await expect(page.get_by_text("No Deployment is like that.")).to_be_visible()
    await page.get_by_role("button", name="Show all").click()
    await expect(page.locator(".body > .row")).to_have_count(12)


async def test_search_namespace_and_order_are_in_the_address(open_page: Callable[..., Any]) -> None:
    page = (await open_page()).page
    await page.keyboard.press("/")
    await page.keyboard.type("tier=backend")
    await expect(page.locator("#count")).to_have_text("5 of 12 Deployments")
    await page.get_by_label("Namespace").select_option("shop")
    await page.get_by_role("button", name="Desired", exact=True).click()
    names = page.locator(".body .open")
    await expect(names).to_have_text(["shop / checkout", "shop / api"])
    assert page.url.endswith("/ui#q=tier%3Dbackend&ns=shop&sort=desired")
    await page.reload()
    await expect(names).to_have_text(["shop / checkout", "shop / api"])
    await expect(page.get_by_role("columnheader", name="Desired")).to_have_attribute("aria-sort", "ascending")
    await page.get_by_role("button", name="Desired", exact=True).click()
    await expect(names).to_have_text(["shop / api", "shop / checkout"])


async def test_back_and_forward_and_a_reload_keep_what_is_chosen(open_page: Callable[..., Any]) -> None:
    page = (await open_page("q=tier%3Dbackend&sort=-desired")).page
    names = page.locator(".body .open")
    await expect(names.first).to_have_text("shop / api")
    await page.get_by_role("button", name="shop/api: open").click()
    side = page.get_by_role("complementary")
    await expect(side).to_contain_text("The policy allows")
    await page.go_back()
    await expect(side).to_be_hidden()
    await expect(page.locator("#search")).to_have_value("tier=backend")
    await expect(page.get_by_role("button", name="shop/api: open")).to_be_focused()
    await page.go_forward()
    await expect(side).to_be_visible()
    await page.reload()
    await expect(side).to_contain_text("The policy allows")
    await expect(names.first).to_have_text("shop / api")
    await expect(page.locator("#count")).to_have_text("5 of 12 Deployments")


async def test_of_ten_thousand_rows_only_those_on_screen_exist(open_page: Callable[..., Any]) -> None:
    page = (await open_page(fill=many)).page
    await expect(page.locator("#count")).to_have_text("10,000 Deployments")
    assert await page.locator(".body > .row").count() < 60
    await expect(page.get_by_role("table")).to_have_attribute("aria-rowcount", "10001")
    await page.keyboard.press("End")
    await expect(page.get_by_role("button", name="team-49/service-09999: open")).to_be_visible()
    assert await page.locator(".body > .row").count() < 60
    in_order = await page.locator(".body > .row").evaluate_all("rows => rows.map(r => Number(r.ariaRowIndex))")
    assert in_order == sorted(in_order)
    await page.keyboard.press("/")
    await page.keyboard.type("service-04321")
    await expect(page.locator(".body > .row")).to_have_count(1)


async def test_rows_do_not_move_under_the_pointer(open_page: Callable[..., Any]) -> None:
    opened = await open_page("sort=-desired", settle=False)
    page, cluster = opened.page, opened.world.cluster
    first = page.locator(".body .open").first
    await expect(first).to_have_text("shop / storefront")
    await row(page, "shop/api").hover()
    cluster.scale(ref("default/nginx-deployment"), 50)
    await expect(row(page, "default/nginx-deployment").locator(".want")).to_have_text("50")
    await expect(page.locator("#count")).to_contain_text("the order is held while you are here")
    await expect(first).to_have_text("shop / storefront")
    await page.locator(".banner").hover()
    await expect(first).to_have_text("default / nginx-deployment")


async def test_nothing_shifts_while_rows_change(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, cluster = opened.page, opened.world.cluster
    await expect(page.locator("#who")).to_contain_text("dev-admin")  # the page has loaded to the end
    await page.evaluate(
        """() => { window.shifts = [];
        const where = ({node, previousRect: a, currentRect: b}) => [node?.parentElement?.outerHTML, a, b];
        const note = list => shifts.push(...list.getEntries().flatMap(each => each.sources.map(where)));
        new PerformanceObserver(note).observe({type: "layout-shift"}); }"""
    )
    for count in (1, 10, 100, 1000, 7):
        for key in ("shop/api", "shop/checkout", "payments/api"):
            cluster.scale(ref(key), count)
        await expect(row(page, "payments/api").locator(".counts")).to_have_text(f"{count:,} of {count:,}")
    assert await page.evaluate("shifts") == []


async def test_a_list_with_nothing_in_it_says_so_to_a_person(open_page: Callable[..., Any]) -> None:
    opened = await open_page(fill=lambda _: None)
    await expect(opened.page.get_by_text("There is no Deployment that you may see.")).to_be_visible()
    opened.world.cluster.create(ref("shop/first"), 1)
    await expect(row(opened.page, "shop/first")).to_be_visible()
    await expect(opened.page.get_by_text("There is no Deployment that you may see.")).to_be_hidden()
