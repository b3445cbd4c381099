"""Parking from the page: counts are remembered, and a batch comes back as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.async_api import expect

from .test_several import _select
from .test_table import row
from .test_writes import status


async def test_a_batch_is_parked_and_comes_back(open_page: Callable[..., Any]) -> None:
    opened = await open_page(settings={"PARKING": "memory"}, width=1600)
    page, world = opened.page, opened.world
    await _select(page, "shop/checkout", "payments/api")
    await page.get_by_role("button", name="Park …").first.click()
    dialog = page.get_by_role("dialog", name="Park 2 Deployments")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("5→0")
    await dialog.get_by_label("2 Deployments go to zero").fill("2")
    await dialog.get_by_label("Reason").fill("night")
    await dialog.get_by_role("button", name="Park 2 Deployments").click()
    await expect(row(page, "shop/checkout")).to_contain_text("parked at 5")
    await expect(page.get_by_role("button", name="2 parked")).to_be_visible()
    assert world.find("payments/api").replicas.desired == 0
    await page.get_by_role("button", name="Parked batches").click()
    side = page.get_by_role("complementary", name="Parked batches")
    await expect(side).to_contain_text("2 Deployments, parked just now by dev-admin")
    await expect(side).to_contain_text("night")
    await expect(side).to_contain_text("payments/api at 4, shop/checkout at 5")
    await side.get_by_role("button", name="Restore …").click()
    dialog = page.get_by_role("dialog", name="Restore 2 Deployments")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("0→5")
    await dialog.get_by_role("button", name="Restore 2 Deployments").click()
    await expect(row(page, "shop/checkout").locator(".want")).to_have_text("5")
    await expect(row(page, "payments/api").locator(".want")).to_have_text("4")
    await expect(side).to_contain_text("Nothing is parked.")
    assert world.find("shop/checkout").replicas.desired == 5


async def test_one_is_parked_and_restored_from_its_panel(open_page: Callable[..., Any]) -> None:
    opened = await open_page("open=shop/checkout", settings={"PARKING": "memory"}, width=1600)
    page, world = opened.page, opened.world
    side = page.get_by_role("complementary", name="shop / checkout")
    await side.get_by_role("button", name="Park …").click()
    dialog = page.get_by_role("dialog", name="Park shop/checkout")
    await dialog.get_by_label("It goes to zero").fill("checkout")
    await dialog.get_by_role("button", name="Park", exact=True).click()
    await expect(side).to_contain_text("Parked at 5, just now by dev-admin")
    await expect(status(page)).to_contain_text("shop/checkout: 5 → 0, done")
    await side.get_by_role("button", name="Restore …").click()
    dialog = page.get_by_role("dialog", name="Restore shop/checkout")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("0→5")
    await dialog.get_by_role("button", name="Restore", exact=True).click()
    await expect(status(page)).to_contain_text("shop/checkout: 0 → 5, done")
    assert world.find("shop/checkout").replicas.desired == 5
