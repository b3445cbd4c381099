"""The page before a kdm on a real API server: what kubectl does beside it is seen, and named."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

from playwright.async_api import Browser, expect

from integration.controlplane.access import Cluster
from integration.kdm_process import KdmProcess
from integration.workloads import deployment

from .conftest import TIMEOUT_MS
from .test_table import row
from .test_writes import status
from .world import shown


async def test_a_write_that_kubectl_supersedes_is_shown_as_such(
    browser: Browser, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    settings = {"REPOSITORY": "kubernetes", "KUBECONFIG": str(cluster.kubeconfig)}
    web = json.dumps(deployment("web", 2, never_ready=True))
    await asyncio.to_thread(cluster.kubectl, "apply", f"--namespace={namespace}", "--filename=-", input=web)
    with KdmProcess(settings, tmp_path / "log") as kdm:
        await asyncio.to_thread(kdm.wait_ready)
        async with shown(kdm.url) as ui:
            context = await browser.new_context()
            page = await context.new_page()
            page.set_default_timeout(TIMEOUT_MS)
            await page.goto(ui.address)
            await page.wait_for_url("**/ui")
            await page.goto(f"{ui.url}/ui#ns={namespace}")
            key = f"{namespace}/web"
            await expect(row(page, key).locator(".want")).to_have_text("2")
            await page.get_by_role("button", name=f"One more: {key}").click(click_count=3)
            await expect(row(page, key)).to_contain_text("2 → 5, settling")
            await asyncio.to_thread(
                cluster.kubectl, "scale", f"--namespace={namespace}", "deployment/web", "--replicas=4"
            )
            await expect(row(page, key).locator(".want")).to_have_text("4")
            await expect(row(page, key)).to_contain_text("2 → 5, superseded")
            await expect(status(page)).to_have_text(re.compile(f"^{key}: 2 → 5, superseded.*4"))
            await expect(row(page, key)).to_contain_text("kubectl")
            await context.close()
