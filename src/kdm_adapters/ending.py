"""Finishing what has begun to end, even if it is cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Run something to its end, however often the caller is cancelled: on the way out there is no second try.

    A cancel scope of anyio cancels at every await until its task has left it, and ``asyncio.timeout`` may do so while
    another cancellation is under way.

    Args:
        work: What to do. It must end by itself.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile. The work is done all the same.
    """
    task = asyncio.create_task(work, name="kdm-ending")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        task.result()
        return
    task.cancelled() or task.exception()  # it is looked at: nothing is logged later
    raise cancelled
