"""Several at once: the plan is shown first, and exactly what was shown is done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from .test_table import many, row
from .test_writes import status
from .world import ref


async def _select(page: Page, *keys: str) -> None:
    for key in keys:
        await row(page, key).get_by_role("checkbox").check()


async def test_several_are_planned_and_then_done(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await _select(page, "shop/checkout", "payments/api")
    await expect(page.locator(".picked")).to_have_text("2 selected")
    await page.get_by_role("button", name="Scale …").click()
    dialog = page.get_by_role("dialog", name="Scale 2 Deployments")
    await dialog.get_by_label("Multiply by").check()
    await dialog.get_by_label("Amount").fill("2")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("5→10")
    await expect(dialog.get_by_role("row", name="payments / api")).to_contain_text("4→8")
    await dialog.get_by_label("Reason").fill("sale")
    await dialog.get_by_role("button", name="Scale 2 Deployments").click()
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 10, done")
    await expect(row(page, "payments/api")).to_contain_text("4 → 8, done")
    assert world.find("shop/checkout").replicas.desired == 10
    assert [each["path"] for each in world.writes][-1] == "/scale"
    assert world.writes[-1]["body"]["reason"] == "sale"


async def test_what_came_of_several_is_said_once(open_page: Callable[..., Any]) -> None:
    opened = await open_page(fill=lambda cluster: many(cluster, 40))
    page = opened.page
    await page.evaluate(
        """() => { window.said = [];
        new MutationObserver(() => said.push(document.getElementById("status").textContent))
          .observe(document.getElementById("status"), {childList: true, characterData: true, subtree: true}); }"""
    )
    await page.get_by_label("Select all that are shown").check()
    await page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Change by").check()
    go = dialog.get_by_role("button", name="Scale 40 Deployments")
    await expect(go).to_have_attribute("aria-disabled", "false")
    await go.click()
    await expect(status(page)).to_have_text("Of 40 Deployments: 40 done")
    assert await page.evaluate("said") == ["Scale: 40 Deployments written", "Of 40 Deployments: 40 done"]


async def test_what_changed_since_the_plan_is_planned_again(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await _select(page, "shop/checkout", "payments/api")
    await page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Change by").check()
    await dialog.get_by_label("Amount").fill("2")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("5→7")
    world.cluster.scale(ref("shop/checkout"), 9)
    await dialog.get_by_role("button", name="Scale 2 Deployments").click()
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("9→11")
    await expect(status(page)).to_contain_text("Something changed meanwhile")
    await expect(dialog.locator(".said")).to_contain_text("Something changed meanwhile")
    assert world.find("payments/api").replicas.desired == 4
    await dialog.get_by_role("button", name="Scale 2 Deployments").click()
    await expect(row(page, "shop/checkout")).to_contain_text("9 → 11, done")


async def test_one_that_is_gone_meanwhile_is_said_to_be_gone_and_has_no_counts(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await _select(page, "shop/checkout", "payments/api")
    await page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    gone = dialog.get_by_role("row", name="payments / api")
    await dialog.get_by_label("Change by").check()
    await dialog.get_by_label("Amount").fill("2")
    await expect(gone).to_contain_text("4→6")
    world.cluster.delete(ref("payments/api"))
    await dialog.get_by_label("Amount").fill("3")
    await expect(gone).to_contain_text("refused: ")
    await expect(gone).not_to_contain_text("?")
    await expect(gone).not_to_contain_text("→")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("5→8")


async def test_several_that_go_to_zero_want_their_number_typed(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await _select(page, "shop/checkout", "payments/api", "default/report-generator")
    await page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Amount").fill("0")
    await expect(dialog).to_contain_text("2 Deployments go to zero. Type 2 to confirm:")
    go = dialog.get_by_role("button", name="Scale 3 Deployments")
    await expect(go).to_have_attribute("aria-disabled", "true")
    await dialog.get_by_label("2 Deployments go to zero").fill("2")
    await go.click()
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 0, done")
    assert world.find("payments/api").replicas.desired == 0


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A policy that allows 1 to 6."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'version = 1\n[[grant]]\nname = "few"\ngroups = ["kdm:admins"]\nverbs = ["read", "scale"]\n'
        'namespaces = ["*"]\nreplicas = { min = 1, max = 6 }\n'
    )
    return policy


async def test_a_refusal_is_shown_beside_its_row_and_nothing_can_be_written(
    open_page: Callable[..., Any], small: Path
) -> None:
    opened = await open_page(policy=small)
    page, world = opened.page, opened.world
    await _select(page, "shop/checkout", "default/redis-deployment")
    await page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Change by").check()
    await dialog.get_by_label("Amount").fill("2")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("refused:")
    await expect(dialog.get_by_role("row", name="default / redis-deployment")).not_to_contain_text("refused:")
    await expect(dialog.locator(".said")).to_have_text("1 of 2 refused: nothing can be written.")
    await expect(dialog.get_by_role("button", name="Scale 2")).to_have_attribute("aria-disabled", "true")
    assert world.find("default/redis-deployment").replicas.desired == 1
