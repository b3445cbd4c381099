"""Owners: who will change a count back is said before it is written, and "scale anyway" only where it is granted."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from kdm_core import DeploymentRef

from .test_table import row
from .test_writes import more, status

CHECKOUT = DeploymentRef("shop", "checkout")


@pytest.fixture
def overriding(tmp_path: Path) -> Path:
    """A policy that lets admins override owners."""
    policy = tmp_path / "policy.toml"
    policy.write_text(
        'version = 1\n[[grant]]\nname = "all"\ngroups = ["kdm:admins"]\nverbs = ["read", "scale"]\n'
        'namespaces = ["*"]\nreplicas = { allow_zero = true }\noverride_owner = true\n'
    )
    return policy


async def test_an_owner_that_would_change_it_back_is_named_and_not_overridden_without_a_grant(
    open_page: Callable[..., Any],
) -> None:
    opened = await open_page(owners=True)
    page, world = opened.page, opened.world
    world.cluster.autoscalers.put(CHECKOUT, "checkout", least=2, most=5)
    await expect(row(page, "shop/checkout").locator(".owner")).to_have_text(re.compile("^HPA 2.5$"))
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text("not written:")
    await expect(status(page)).to_contain_text("HorizontalPodAutoscaler 'checkout'")
    await page.get_by_role("button", name="Set the count of shop/checkout").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Amount").fill("9")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("refused:")
    await expect(dialog.get_by_label("Scale anyway: your grant does not allow it.")).to_be_disabled()
    assert world.find("shop/checkout").replicas.desired == 5


async def test_scale_anyway_is_offered_where_the_grant_allows_it(
    open_page: Callable[..., Any], overriding: Path
) -> None:
    opened = await open_page(owners=True, policy=overriding)
    page, world = opened.page, opened.world
    world.cluster.autoscalers.put(CHECKOUT, "checkout", least=2, most=5)
    await expect(row(page, "shop/checkout").locator(".owner")).to_have_text(re.compile("^HPA 2.5$"))
    await page.get_by_role("button", name="Set the count of shop/checkout").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Amount").fill("9")
    await dialog.get_by_label("Scale anyway").check()
    await expect(dialog.get_by_role("row", name="shop / checkout")).not_to_contain_text("refused:")
    await dialog.get_by_role("button", name="Scale", exact=True).click()
    await expect(status(page)).to_contain_text("shop/checkout: 5 → 9, done")
    uid = world.find("shop/checkout").uid
    assert world.writes[-1]["body"] == {"replicas": 9, "currentReplicas": 5, "uid": uid, "override": True}
