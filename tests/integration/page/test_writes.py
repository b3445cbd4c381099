"""Writing from a row: presses become one request, and what comes of it is said in words, once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from kdm_core.model import DeploymentCondition

from .test_table import row
from .world import World, ref

REPLICAS = "/namespaces/shop/deployments/checkout/replicas"


async def open_changed(open_page: Callable[..., Any]) -> tuple[Page, World, Locator]:
    """Open the page on a Deployment that kubectl then makes 8 of its 5. Returns its panel as well."""
    opened = await open_page("open=shop/checkout")
    side = opened.page.get_by_role("complementary", name="shop / checkout")
    await expect(side).to_contain_text("settled")
    opened.world.cluster.scale(ref("shop/checkout"), 8)
    return opened.page, opened.world, side


def more(page: Page, key: str) -> Any:
    """The button that asks for one more."""
    return page.get_by_role("button", name=f"One more: {key}")


def less(page: Page, key: str) -> Any:
    """The button that asks for one less."""
    return page.get_by_role("button", name=f"One less: {key}")


def status(page: Page) -> Any:
    """What was announced last."""
    return page.get_by_role("status").and_(page.locator("#status"))


async def at_once(*buttons: Locator) -> None:
    """Press buttons with no time between: a busy machine puts more between two clicks than the page waits."""
    handles = [await button.element_handle() for button in buttons]
    await buttons[0].page.evaluate("buttons => buttons.forEach((button) => button.click())", handles)


async def test_plus_and_minus_pressed_several_times_become_one_put(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await at_once(*[more(page, "shop/checkout")] * 4, less(page, "shop/checkout"))
    await expect(row(page, "shop/checkout").locator(".want")).to_have_text("8")
    await expect(status(page)).to_have_text("shop/checkout: 5 → 8, done in 0 s")
    assert [{**each, "key": None} for each in world.writes] == [
        {
            "method": "PUT",
            "path": REPLICAS,
            "body": {"replicas": 8, "currentReplicas": 5, "uid": world.find("shop/checkout").uid},
            "key": None,
        }
    ]
    assert len(world.writes[0]["key"]) == 34  # in quotes
    assert world.find("shop/checkout").replicas.desired == 8


async def test_presses_that_take_each_other_back_write_nothing(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await at_once(*[more(page, "shop/checkout")] * 2, *[less(page, "shop/checkout")] * 2)
    await expect(row(page, "shop/checkout")).to_contain_text("settled")
    await more(page, "shop/api").click()
    await expect(status(page)).to_contain_text("shop/api: 8 → 9, done")
    assert [each["path"] for each in world.writes] == ["/namespaces/shop/deployments/api/replicas"]


async def test_a_count_that_somebody_changed_meanwhile_is_not_overwritten(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await more(page, "shop/checkout").click()
    world.cluster.scale(ref("shop/checkout"), 9)
    await expect(row(page, "shop/checkout")).to_contain_text("not written: somebody made it 9 meanwhile")
    await expect(status(page)).to_have_text("shop/checkout: not written: somebody made it 9 meanwhile")
    assert world.find("shop/checkout").replicas.desired == 9


async def test_a_superseded_write_names_who_did_it(open_page: Callable[..., Any]) -> None:
    opened = await open_page(settle=False)
    page, world = opened.page, opened.world
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 6, settling")
    world.cluster.scale(ref("shop/checkout"), 2, manager="kubectl-scale")
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 6, superseded")
    await expect(status(page)).to_contain_text("superseded")
    await expect(status(page)).to_contain_text("kubectl-scale")


async def test_a_blocked_write_says_by_what(open_page: Callable[..., Any]) -> None:
    opened = await open_page(settle=False)
    page, world = opened.page, opened.world
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 6, settling")
    failure = DeploymentCondition("True", "FailedCreate", "exceeded quota: pods, used: pods=40, limited: pods=40")
    world.cluster.report(ref("shop/checkout"), replica_failure=failure)
    await expect(row(page, "shop/checkout")).to_contain_text("blocked")
    await expect(status(page)).to_contain_text("exceeded quota: pods")


async def test_one_less_than_one_asks_for_a_typed_word(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await less(page, "default/redis-deployment").click()
    dialog = page.get_by_role("dialog", name="Scale default/redis-deployment")
    await expect(dialog).to_contain_text("It goes to zero. Type redis-deployment to confirm:")
    go = dialog.get_by_role("button", name="Scale", exact=True)
    await expect(go).to_have_attribute("aria-disabled", "true")
    await go.click(force=True)
    await expect(dialog.locator(".said")).to_have_text("Type redis-deployment first.")
    await dialog.get_by_label("It goes to zero").fill("redis-deployment")
    await dialog.get_by_label("Reason").fill("night")
    await go.click()
    await expect(status(page)).to_contain_text("default/redis-deployment: 1 → 0, done")
    body = {"replicas": 0, "currentReplicas": 1, "uid": world.find("default/redis-deployment").uid, "reason": "night"}
    assert world.writes[-1]["body"] == body
    await expect(row(page, "default/redis-deployment")).to_contain_text("at zero")


async def test_controls_that_do_nothing_say_why(open_page: Callable[..., Any]) -> None:
    opened = await open_page(certificate="dev-viewer")
    page, world = opened.page, opened.world
    await expect(more(page, "shop/checkout")).to_have_attribute("aria-disabled", "true")
    await expect(more(page, "shop/checkout")).to_have_attribute("title", "You may read this one, not scale it.")
    await more(page, "shop/checkout").click(force=True)
    await expect(status(page)).to_have_text("shop/checkout: You may read this one, not scale it.")
    await page.get_by_role("button", name="Scale …").click(force=True)
    await expect(status(page)).to_have_text("Select Deployments first.")
    assert world.writes == []


@pytest.fixture
def bounded(tmp_path: Path) -> Path:
    """A policy that allows admins 2 to 6, and wants a reason."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'version = 1\n[[grant]]\nname = "few"\ngroups = ["kdm:admins"]\nverbs = ["read", "scale"]\n'
        'namespaces = ["*"]\nreplicas = { min = 2, max = 6 }\nrequire_reason = true\n'
    )
    return policy


async def test_the_dialog_shows_what_the_policy_allows_and_refuses(
    open_page: Callable[..., Any], bounded: Path
) -> None:
    opened = await open_page(policy=bounded)
    page, world = opened.page, opened.world
    await page.get_by_role("button", name="Set the count of shop/checkout").click()
    dialog = page.get_by_role("dialog", name="Scale shop/checkout")
    await expect(dialog).to_contain_text("The policy allows 2 to 6.")
    await dialog.get_by_label("Amount").fill("7")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("refused:")
    await expect(dialog.get_by_role("button", name="Scale", exact=True)).to_have_attribute("aria-disabled", "true")
    await dialog.get_by_label("Amount").fill("6")
    await expect(dialog).to_contain_text("reason")
    await dialog.get_by_label("Reason").fill("sale")
    await dialog.get_by_label("Reason").press("Tab")
    await dialog.get_by_role("button", name="Scale", exact=True).click()
    await expect(status(page)).to_contain_text("shop/checkout: 5 → 6, done")
    body = {"replicas": 6, "currentReplicas": 5, "uid": world.find("shop/checkout").uid, "reason": "sale"}
    assert world.writes[-1]["body"] == body


async def test_the_status_announces_outcomes_and_not_each_tick(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await page.evaluate(
        """() => { window.said = [];
        new MutationObserver(() => said.push(document.getElementById("status").textContent))
          .observe(document.getElementById("status"), {childList: true, characterData: true, subtree: true}); }"""
    )
    for count in range(6, 60):
        world.cluster.scale(ref("shop/api"), count)
    await expect(row(page, "shop/api").locator(".want")).to_have_text("59")
    await more(page, "shop/checkout").click(click_count=2)
    await expect(status(page)).to_contain_text("done")
    assert await page.evaluate("said") == ["shop/checkout: 5 → 7, done in 0 s"]


async def test_the_page_works_with_the_keyboard_alone(open_page: Callable[..., Any]) -> None:
    opened = await open_page(width=1600)
    page, world = opened.page, opened.world
    await page.keyboard.press("/")
    await page.keyboard.type("shop")
    await expect(page.locator("#count")).to_have_text("4 of 12 Deployments")
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("j")
    await expect(page.get_by_role("button", name="shop/checkout: open")).to_be_focused()
    for _ in range(3):
        await page.keyboard.press("+")
    await page.keyboard.press("-")
    await expect(status(page)).to_contain_text("shop/checkout: 5 → 7, done")
    await page.keyboard.press("x")
    await expect(page.get_by_role("checkbox", name="Select shop/checkout")).to_be_checked()
    await page.keyboard.press("s")
    await expect(page.get_by_role("spinbutton", name="Amount")).to_be_focused()
    await page.keyboard.type("9")
    await expect(page.get_by_role("dialog")).to_contain_text("→9")
    await page.keyboard.press("Enter")
    await expect(status(page)).to_contain_text("shop/checkout: 7 → 9, done")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("complementary", name="shop / checkout")).to_be_visible()
    await page.keyboard.press("u")
    await expect(status(page)).to_contain_text("shop/checkout: 9 → 7, done")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("complementary")).to_be_hidden()
    await expect(page.get_by_role("button", name="shop/checkout: open")).to_be_focused()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog", name="Keys and appearance")).to_be_visible()
    assert [each["body"]["replicas"] for each in world.writes if "dryRun" not in each["path"]] == [7, 9, 7]


async def test_keys_of_one_letter_can_be_turned_off(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await page.keyboard.press("?")
    await page.get_by_role("group", name="Keys of one letter").get_by_label("off").check()
    await page.get_by_role("button", name="Close").click()
    await page.get_by_role("button", name="shop/checkout: open").focus()
    await page.keyboard.press("+")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_hidden()
    await page.keyboard.press("ArrowDown")
    await expect(page.get_by_role("button", name="shop/search-indexer: open")).to_be_focused()
    assert world.writes == []


async def test_the_open_deployment_shows_its_counts_its_changes_and_takes_the_newest_back(
    open_page: Callable[..., Any],
) -> None:
    page, world, side = await open_changed(open_page)
    await expect(side.get_by_role("listitem").filter(has_text="5 → 8")).to_contain_text("kubectl")
    chart = side.get_by_role("img")
    await expect(chart).to_have_attribute("aria-label", re.compile("desired from 5 to 8, available from 5 to 8$"))
    await expect(side).to_contain_text("The policy allows 0 to 1,000.")
    await side.get_by_role("button", name="Undo").click()
    await expect(status(page)).to_contain_text("shop/checkout: 8 → 5, done")
    assert world.find("shop/checkout").replicas.desired == 5
    body = {"replicas": 5, "currentReplicas": 8, "uid": world.find("shop/checkout").uid, "reason": "undo"}
    assert world.writes[-1]["body"] == body
    await page.go_back()
    await page.go_forward()
    await expect(side).to_be_visible()


async def test_what_a_kdm_does_not_offer_is_said_in_words(open_page: Callable[..., Any]) -> None:
    """Whatever features it has, the page names those that it lacks."""
    opened = await open_page()
    page = opened.page
    about = await (await page.request.get(f"{opened.world.url}/api/v2")).json()
    features = about["features"]
    await page.get_by_role("button", name="Parked batches").click()
    side = page.get_by_role("complementary", name="Parked batches")
    await expect(side).to_contain_text(
        "Nothing is parked" if features["parking"] else "This kdm does not offer parking."
    )
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="shop/checkout: open").click()
    side = page.get_by_role("complementary", name="shop / checkout")
    await expect(side).to_contain_text("Nobody that kdm can see" if features["owners"] else "does not look at owners")
    await expect(side).to_contain_text("began to watch" if features["history"] else "This kdm keeps no history.")
    if not features["owners"]:
        await page.get_by_role("button", name="autoscaled").click(force=True)
        await expect(status(page)).to_contain_text("This kdm does not look at owners")
    if not features["bulk"]:
        await page.get_by_label("Select all that are shown").check()
        await page.get_by_role("button", name="Scale …").click(force=True)
        await expect(status(page)).to_have_text("This kdm does not change several at once.")
