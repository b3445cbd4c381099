"""What was asked for once is written once, to the object that was seen, and nothing of it is forgotten."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from .test_focus import _real
from .test_table import row
from .test_writes import more, open_changed, status
from .world import ref


async def _hold(page: Page, path: str) -> asyncio.Event:
    """Keep writes from their answers until the event is set. Dry runs pass."""
    go = asyncio.Event()

    async def held(route: Any) -> None:
        if "dryRun" not in route.request.url:
            await go.wait()
        await route.continue_()

    await page.route(path, held)
    return go


async def _planned(page: Page) -> Any:
    """The button that confirms a change of two."""
    for key in ("shop/checkout", "payments/api"):
        await row(page, key).get_by_role("checkbox").check()
    await page.keyboard.press("s")
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Change by").check()
    await dialog.get_by_label("Amount").fill("2")
    await expect(dialog.get_by_role("row", name="shop / checkout")).to_contain_text("5→7")
    return dialog.get_by_role("button", name="Scale 2 Deployments")


async def test_a_plan_that_is_confirmed_twice_is_done_once(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    confirm = await _planned(page)
    go = await _hold(page, "**/api/v2/scale*")
    await confirm.click()
    await confirm.click(force=True)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog").locator(".said")).to_have_text("It is being written.")
    go.set()
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 7, done")
    assert len(_real(world.writes)) == 1


async def test_parking_that_is_confirmed_twice_is_done_once(open_page: Callable[..., Any]) -> None:
    opened = await open_page(settings={"PARKING": "memory"})
    page, world = opened.page, opened.world
    await row(page, "shop/checkout").get_by_role("checkbox").check()
    await page.get_by_role("button", name="Park …").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("It goes to zero").fill("checkout")
    go = await _hold(page, "**/park*")
    confirm = dialog.get_by_role("button", name="Park", exact=True)
    await confirm.click()
    await confirm.click(force=True)
    await expect(dialog.locator(".said")).to_have_text("It is being written.")
    go.set()
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 0, done")
    assert len(_real(world.writes)) == 1


async def test_an_answer_closes_no_other_dialog_than_its_own(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page = opened.page
    confirm = await _planned(page)
    go = await _hold(page, "**/api/v2/scale*")
    await confirm.click()
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Set the count of shop/storefront").click()
    await expect(page.get_by_role("dialog", name="Scale shop/storefront")).to_be_visible()
    go.set()
    await expect(status(page)).not_to_have_text("")
    await expect(page.get_by_role("dialog", name="Scale shop/storefront")).to_be_visible()


async def test_the_second_click_of_a_double_click_presses_nothing_below_the_dialog(
    open_page: Callable[..., Any],
) -> None:
    opened = await open_page(width=1280)
    page, world = opened.page, opened.world
    await page.get_by_role("button", name="Set the count of shop/checkout").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Amount").fill("7")
    await expect(dialog).to_contain_text("→7")
    confirm = dialog.get_by_role("button", name="Scale", exact=True)
    box = await confirm.bounding_box()
    assert box is not None
    # Put a row's + under the button: the dialog is as wide as it is, so the table is moved.
    under = await more(page, "default/session-store").bounding_box()
    await page.evaluate(
        "([x, y]) => { document.querySelector('main').style.transform = `translate(${x}px, ${y}px)`; }",
        [box["x"] + box["width"] / 2 - under["x"] - 8, box["y"] + box["height"] / 2 - under["y"] - 8],
    )
    await confirm.dblclick()
    await expect(status(page)).to_contain_text("shop/checkout: 5 → 7, done")
    await expect(row(page, "default/session-store").locator(".want")).to_have_text("2")
    assert [each["path"].split("/")[4] for each in _real(world.writes)] == ["checkout"]


async def test_undo_pressed_twice_is_done_once(open_page: Callable[..., Any]) -> None:
    page, world, side = await open_changed(open_page)
    await expect(side.get_by_role("button", name="Undo")).to_be_visible()
    await page.evaluate("const b = [...document.querySelectorAll('#side .changes button')][0]; b.click(); b.click();")
    await expect(status(page)).to_contain_text("shop/checkout: 8 → 5, done")
    assert len(_real(world.writes)) == 1
    await expect(row(page, "shop/checkout")).not_to_contain_text("not written")


async def test_undo_writes_nothing_where_somebody_changed_it_meanwhile(open_page: Callable[..., Any]) -> None:
    page, world, side = await open_changed(open_page)
    undo = await side.get_by_role("button", name="Undo").element_handle()
    assert undo is not None
    world.cluster.scale(ref("shop/checkout"), 9)
    await undo.evaluate("button => button.click()")
    await expect(status(page)).to_contain_text("shop/checkout: not written: somebody made it 9 meanwhile")
    assert world.find("shop/checkout").replicas.desired == 9


LATE = """
window.late = new Map();
const {setTimeout: set, clearTimeout: clear} = window;
window.setTimeout = (what, after, ...rest) => {
  const timer = set(what, after, ...rest);
  if (after === 8000) late.set(timer, what);
  return timer;
};
window.clearTimeout = timer => { late.delete(timer); clear(timer); };
"""
"""Keeps what a row does after it has said for a while that all went well."""


async def test_a_press_is_kept_when_the_row_forgets_that_the_one_before_went_well(
    open_page: Callable[..., Any], browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    _before(browser, monkeypatch, LATE)
    opened = await open_page()
    page, world = opened.page, opened.world
    await more(page, "shop/checkout").click()
    await expect(status(page)).to_contain_text("5 → 6, done")
    await page.evaluate(
        "document.querySelector('[aria-label=\"One more: shop/checkout\"]').click(); late.forEach(each => each());"
    )
    await expect(status(page)).to_contain_text("6 → 7, done")
    assert world.find("shop/checkout").replicas.desired == 7


def _before(browser: Browser, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    plain = browser.new_context

    async def prepared(**options: Any) -> BrowserContext:
        context = await plain(**options)
        await context.add_init_script(script)
        return context

    monkeypatch.setattr(browser, "new_context", prepared)


async def test_a_press_builds_on_what_was_written_also_before_the_stream_shows_it(
    open_page: Callable[..., Any],
) -> None:
    opened = await open_page(settle=False)
    page, world = opened.page, opened.world

    async def never(_: Any) -> None:
        pass

    await page.route("**/api/v2/deployments?watch=true", never)
    world.cut()
    await expect(page.locator("#health")).to_contain_text("disconnected")
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 6, settling")
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text("6 → 7, settling")
    assert [each["body"]["currentReplicas"] for each in world.writes] == [5, 6]


async def test_a_deployment_that_was_made_again_meanwhile_is_not_written(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await more(page, "shop/checkout").click()
    world.cluster.delete(ref("shop/checkout"))
    world.cluster.create(ref("shop/checkout"), 5)
    await expect(row(page, "shop/checkout")).to_contain_text("not written")
    assert world.find("shop/checkout").replicas.desired == 5


async def test_the_changes_of_a_deployment_that_was_deleted_are_not_undone_on_a_new_one(
    open_page: Callable[..., Any],
) -> None:
    _, world, side = await open_changed(open_page)
    await expect(side.get_by_role("button", name="Undo")).to_be_visible()
    world.cluster.delete(ref("shop/checkout"))
    await expect(side).to_contain_text("There is no such Deployment")
    world.cluster.create(ref("shop/checkout"), 8)
    await expect(side.locator("dd").first).to_have_text("8")
    await expect(side).to_contain_text("The policy allows")
    await expect(side.get_by_role("button", name="Undo")).to_have_count(0)
    assert world.find("shop/checkout").replicas.desired == 8


ANSWERS = {
    "write-conflict": (409, {"written": False, "current": {"replicas": 9}}, "not written: somebody made it 9"),
    "precondition": (412, {"detail": "it is another one", "written": False}, "not written: it is another one"),
    "precondition-required": (428, {"detail": "say which", "written": False}, "not written: say which"),
    "too-many": (429, {"detail": "too many requests", "written": False}, "not written: too many requests"),
    "unavailable": (503, {"detail": "no cluster", "written": False}, "not written: no cluster"),
    "ambiguous": (504, {"detail": "it took too long", "written": None}, "not certain: it took too long"),
    "null": (500, None, "not certain: the server answered 500"),
    "list": (502, ["<html>"], "not certain"),
}  # fmt: skip


@pytest.mark.parametrize("code", ANSWERS)
async def test_whatever_is_answered_the_row_says_whether_it_was_written(
    open_page: Callable[..., Any], code: str
) -> None:
    opened = await open_page()
    page = opened.page
    answered, body, words = ANSWERS[code]
    text = json.dumps({"code": code, "status": answered, **body} if isinstance(body, dict) else body)
    fulfil = {"status": answered, "content_type": "application/problem+json", "body": text}
    await page.route("**/replicas", lambda route: route.fulfill(**fulfil))
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text(words)
    await expect(status(page)).to_contain_text(words)
    await expect(row(page, "shop/checkout").locator(".want")).to_have_text("5")


async def test_an_answer_that_breaks_off_is_no_answer(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    await page.evaluate(
        """() => { const before = window.fetch; window.fetch = async (url, options) => {
        const answer = await before(url, options);
        if (options?.method !== "PUT") return answer;
        const broken = new ReadableStream({start(it) { it.error(new TypeError("network error")); }});
        return new Response(broken, {status: 200}); }; }"""
    )
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text("no answer: it may have been written or not")
    assert len({each["key"] for each in world.writes}) == 1
    assert world.find("shop/checkout").replicas.desired == 6


async def test_a_write_whose_answer_is_lost_is_sent_again_and_done_once(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page, world = opened.page, opened.world
    lost: list[int] = []

    async def lose(route: Any) -> None:
        if lost:
            await route.continue_()
            return
        lost.append((await route.fetch()).status)
        world.cut()
        await route.abort()

    await page.route("**/replicas", lose)
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text("5 → 6, done")
    assert lost == [200]
    assert [each["key"] for each in world.writes] == [world.writes[0]["key"]] * 2
    assert world.find("shop/checkout").replicas.desired == 6


@pytest.mark.parametrize("width", [360, 1280])
async def test_what_went_wrong_is_read_and_dismissed_with_a_pointer(open_page: Callable[..., Any], width: int) -> None:
    opened = await open_page(width=width)
    page = opened.page
    text = json.dumps({"code": "busy", "status": 503, "detail": "no cluster " * 20, "written": False})
    await page.route("**/replicas", lambda route: route.fulfill(status=503, body=text))
    await more(page, "shop/checkout").click()
    here = row(page, "shop/checkout")
    await expect(here).to_contain_text("not written")
    dismiss = here.get_by_role("button", name=re.compile("^Dismiss"))
    inside, whole = await dismiss.bounding_box(), await here.locator(".c-state").bounding_box()
    assert inside["x"] + inside["width"] <= whole["x"] + whole["width"]
    await dismiss.click()
    await expect(here).to_contain_text("settled")


async def test_a_refusal_that_can_be_answered_leads_to_the_plan_of_what_was_asked_for(
    open_page: Callable[..., Any],
) -> None:
    opened = await open_page()
    page = opened.page
    text = json.dumps({"code": "reason-required", "status": 403, "detail": "a reason is needed", "written": False})
    await page.route("**/replicas", lambda route: route.fulfill(status=403, body=text))
    await more(page, "shop/checkout").click(click_count=2)
    here = row(page, "shop/checkout")
    await here.get_by_role("button", name="Look …").click()
    dialog = page.get_by_role("dialog", name="Scale shop/checkout")
    await expect(dialog.get_by_label("Amount")).to_have_value("7")
    await page.keyboard.press("Escape")
    await expect(here).to_contain_text("settled")


async def test_after_a_refusal_by_the_policy_the_page_asks_what_is_allowed_now(open_page: Callable[..., Any]) -> None:
    opened = await open_page()
    page = opened.page
    text = json.dumps({"code": "forbidden", "status": 403, "detail": "no more", "written": False})
    await page.route("**/replicas", lambda route: route.fulfill(status=403, body=text))
    await expect(more(page, "shop/checkout")).not_to_have_attribute("aria-disabled", "true")

    async def denied(route: Any) -> None:
        answer = await route.fetch()
        body = await answer.json()
        await route.fulfill(response=answer, json={**body, "access": {**body["access"], "verbs": ["read"]}})

    await page.route("**/deployments/checkout?access=true", denied)
    await more(page, "shop/checkout").click()
    await expect(row(page, "shop/checkout")).to_contain_text("not written: no more")
    await expect(more(page, "shop/checkout")).to_have_attribute("aria-disabled", "true")


async def test_one_of_a_factor_is_rounded_as_the_service_rounds(open_page: Callable[..., Any]) -> None:
    """Rounding alone stops nothing."""
    page = (await open_page()).page
    await page.get_by_role("button", name="Set the count of default/redis-deployment").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Multiply by").check()
    await dialog.get_by_label("Amount").fill("0.1")
    await expect(dialog.get_by_role("row", name="default / redis-deployment")).to_contain_text("1→1")
    await expect(dialog).to_contain_text("That is how it is already.")
