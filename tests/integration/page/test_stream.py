"""The stream: it is cut, resumed and reset, and nobody loses what they had selected or where they were."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.async_api import Page, expect

from kdm_adapters.memory import MemoryCluster
from kdm_core import DeploymentRef
from kdm_http.page.files import page as files

from .test_table import row
from .world import ref


def several(cluster: MemoryCluster) -> None:
    """As many as make a page scroll."""
    for number in range(300):
        cluster.create(DeploymentRef("shop", f"service-{number:03}"), 2)
        cluster.settle(DeploymentRef("shop", f"service-{number:03}"))


async def _placed(page: Any) -> tuple[Any, ...]:
    """Select a row in the middle, open it, and return where the page is."""
    await expect(page.locator("#count")).to_have_text(re.compile("^300 Deployments"))  # so much there is to scroll
    await page.evaluate("scrollTo(0, 5000)")
    await row(page, "shop/service-115").get_by_role("checkbox").check()
    await page.get_by_role("button", name="shop/service-116: open").click()
    return await _place(page)


async def _place(page: Any) -> tuple[Any, ...]:
    return (
        await page.evaluate("scrollY"),
        await row(page, "shop/service-115").get_by_role("checkbox").is_checked(),
        await page.locator(".picked").text_content(),
        await page.get_by_role("complementary").get_attribute("aria-labelledby"),
        await page.evaluate("location.hash"),
    )


async def test_a_stream_that_is_cut_goes_on_without_losing_selection_or_scroll(open_page: Callable[..., Any]) -> None:
    opened = await open_page(fill=several)
    page, world = opened.page, opened.world
    before = await _placed(page)
    resumed: list[str | None] = []
    page.on(
        "request",
        lambda request: resumed.append(request.headers.get("last-event-id")) if "watch" in request.url else None,
    )
    world.cluster.scale(ref("shop/service-115"), 3)
    await expect(row(page, "shop/service-115").locator(".want")).to_have_text("3")
    world.cut()
    world.cluster.scale(ref("shop/service-116"), 7)
    await expect(row(page, "shop/service-116").locator(".want")).to_have_text("7")
    await expect(page.locator("#health")).to_have_text(re.compile("^live"))
    assert resumed
    assert resumed[-1], "it did not say where it was"
    assert await _place(page) == before


async def test_a_reset_draws_everything_again_without_losing_selection_or_scroll(open_page: Callable[..., Any]) -> None:
    """As after a restart of kdm: the cursor is of another process, and what is gone meanwhile is not in the answer."""
    opened = await open_page(fill=several)
    page, world = opened.page, opened.world
    before = await _placed(page)

    async def elsewhere(route: Any) -> None:
        await route.continue_(headers={**route.request.headers, "last-event-id": "0123456789abcdef:0:1"})

    await page.route("**/api/v2/deployments?watch=true", elsewhere)
    world.cut()
    world.cluster.delete(ref("shop/service-299"))
    world.cluster.scale(ref("shop/service-115"), 9)
    await expect(page.locator("#count")).to_have_text(re.compile("^299 Deployments"))
    await expect(row(page, "shop/service-115").locator(".want")).to_have_text("9")
    assert await _place(page) == before


async def _wait_for_a_person(page: Page) -> None:
    """Make a page that is disconnected pause for hours: otherwise it may come back before its button is pressed."""
    await page.evaluate("Math.random = () => 1e5")  # what spreads the pauses
    await expect(page.locator("#health")).to_contain_text(re.compile(r"again in \d+ h"))


async def test_the_banner_says_since_when_nothing_is_heard_and_tries_again(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await page.context.set_offline(True)
    world.cut()
    health = page.locator("#health")
    await expect(health).to_contain_text(re.compile(r"disconnected since \d\d:\d\d:\d\d"))
    await _wait_for_a_person(page)
    await expect(page.locator("#status")).to_have_text("Disconnected. What is shown may be old.")
    await expect(row(page, "shop/api")).to_be_visible()
    await page.context.set_offline(False)
    await page.get_by_role("button", name="Try now").click()
    await expect(health).to_have_text(re.compile("^live"))
    await expect(page.locator("#status")).to_have_text("Connected: the counts are live.")


async def test_the_banner_says_since_when_the_counts_are_stale(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    world.repository.faults.stale = True
    health = page.locator("#health")
    await expect(health).to_contain_text(re.compile(r"stale since \d\d:\d\d:\d\d"))
    await expect(page.locator("#status")).to_have_text("The counts are stale: the cluster is not heard from.")
    world.repository.faults.stale = False
    await expect(health).to_have_text(re.compile("^live"))


async def test_a_policy_that_shows_nothing_is_said_to_a_person(open_page: Callable[..., Any], tmp_path: Any) -> None:
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'version = 1\n[[grant]]\nname = "others"\ngroups = ["others"]\nverbs = ["read"]\nnamespaces = ["*"]\n'
    )
    opened = await open_page(policy=policy, live=False)
    words = opened.page.locator("#empty")
    await expect(words).to_contain_text(re.compile("ask whoever runs this kdm for a grant", re.IGNORECASE))


async def test_a_kdm_that_fails_is_named_and_not_hammered(open_page: Callable[..., Any]) -> None:
    opened = await open_page("open=shop/checkout")
    page, world = opened.page, opened.world
    side = page.get_by_role("complementary", name="shop / checkout")
    await expect(side).to_contain_text("settled")
    asked: list[str] = []
    body = '{"code": "unreachable", "status": 502, "detail": "https://kdm.test does not answer: unknown ca"}'

    async def fail(route: Any) -> None:
        asked.append(route.request.url.rpartition("/")[2])
        await route.fulfill(status=502, content_type="application/problem+json", body=body)

    await page.route("**/api/v2/**", fail)
    await page.reload()
    await expect(page.locator("#empty")).to_have_text("https://kdm.test does not answer: unknown ca.")
    await _wait_for_a_person(page)
    await page.unroute("**/api/v2/**")
    await page.route("**/history?*", fail)
    await page.get_by_role("button", name="Try now").click()
    await expect(side).to_contain_text("The history cannot be read: https://kdm.test does not answer: unknown ca")
    await expect(side.get_by_role("img")).to_have_attribute("aria-label", re.compile("Over [3-9] s"))
    assert len([each for each in asked if each.startswith("history")]) == 1
    await page.unroute("**/history?*")
    await page.route("**/api/v2/**", fail)
    world.cut()
    await page.get_by_role("button", name="Try now").click()
    await expect(page.locator("#status")).to_contain_text("Disconnected. https://kdm.test does not answer: unknown ca.")
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Set the count of shop/checkout").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.locator(".said")).to_have_text("https://kdm.test does not answer: unknown ca")
    await expect(dialog).not_to_contain_text("refused")


async def test_who_is_not_let_in_reads_what_to_do_above_all_rows(open_page: Callable[..., Any]) -> None:
    opened = await open_page(fill=several)
    page, world = opened.page, opened.world
    await expect(page.locator("#count")).to_have_text("300 Deployments")
    await page.route("**/deployments?watch=true", lambda route: route.fulfill(status=401, body='{"code": "x"}'))
    world.cut()
    words = page.get_by_text("With kdm ui: start it again")
    await expect(words.first).to_be_in_viewport()
    await expect(page.locator("#empty")).to_be_in_viewport()


async def test_a_new_version_of_the_page_has_another_address(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    loaded = await opened.page.evaluate("performance.getEntriesByType('resource').map(e => new URL(e.name).pathname)")
    assert f"/ui/{files().directory}/app.js" in {
        each.replace(files("staging-eu").directory, files().directory) for each in loaded
    }
