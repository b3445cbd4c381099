"""How quickly the page answers with 10,000 Deployments that change 100 times a second, and whether its memory stays.

``python -m benchmarks.page --seconds 600``, with Chromium installed. It fails where input takes longer to paint than it
may, or where memory grows.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from typing import Any, Final

from playwright.async_api import Page, async_playwright

from integration.page import chromium
from integration.page.many import changing, fill
from integration.page.world import started

PAINT_MS: Final = 100.0
"""How long input may take to be painted, at the 95th percentile, in milliseconds."""

GROWTH: Final = 1.25
"""How much more memory the last quarter may have than the second: the first is warming up."""

_NOTE: Final = """() => { window.waits = [];
const note = list => waits.push(...list.getEntries().filter(each => each.interactionId).map(each => each.duration));
new PerformanceObserver(note)
  .observe({type: "event", durationThreshold: 16, buffered: true});
// What is shorter than the threshold is not reported: those count as the threshold.
window.presses = 0; addEventListener("keydown", () => { presses += 1; }, true); }"""


async def measure(seconds: int) -> tuple[list[float], list[float]]:
    """Return how long each press took to be painted, in milliseconds, and the heap's sizes over time, in MB."""
    found = chromium.find()
    if found is None:
        sys.exit(f"the page's benchmark needs Chromium: apt-get install {chromium.PACKAGE}")
    async with started(fill=fill) as world, async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"] if os.getuid() == 0 else []
        )
        page = await browser.new_page(viewport={"width": 1360, "height": 820})
        await page.goto(world.ui.address)
        await page.wait_for_url("**/ui")
        await page.locator(".health[data-is=live]").wait_for()
        devtools = await page.context.new_cdp_session(page)
        await page.evaluate(_NOTE)
        await page.keyboard.press("/")
        await page.keyboard.press("ArrowDown")
        heaps: list[float] = []
        async with changing(world):
            loop = asyncio.get_running_loop()
            end, sampled = loop.time() + seconds, 0.0
            while loop.time() < end:
                await _use(page)
                if loop.time() - sampled > max(2.0, seconds / 40):
                    sampled = loop.time()
                    heaps.append(await _heap(devtools))
        waits, presses = await page.evaluate("[waits, presses]")
        await browser.close()
    return [*waits, *[16.0] * max(0, presses - len(waits))], heaps


async def _use(page: Page) -> None:
    for key in "jjjjk":
        await page.keyboard.press(key)
        await page.wait_for_timeout(100)
    await page.mouse.wheel(0, 300)
    await page.wait_for_timeout(100)


async def _heap(devtools: Any) -> float:
    await devtools.send("HeapProfiler.collectGarbage")
    used: float = (await devtools.send("Runtime.getHeapUsage"))["usedSize"]
    return used / 1e6


def main() -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    waits, heaps = asyncio.run(measure(parser.parse_args().seconds))
    waits.sort()
    p95, quarter = waits[int(len(waits) * 0.95)], max(1, len(heaps) // 4)
    early, late = statistics.median(heaps[quarter : 2 * quarter] or heaps), statistics.median(heaps[-quarter:])
    print(f"{len(waits)} presses: median {statistics.median(waits):.0f} ms, p95 {p95:.0f} ms, most {waits[-1]:.0f} ms")
    print(f"heap: {early:.1f} MB in the second quarter, {late:.1f} MB in the last, most {max(heaps):.1f} MB")
    good = p95 < PAINT_MS and late < early * GROWTH
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
