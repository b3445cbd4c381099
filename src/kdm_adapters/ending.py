"""Finishing what has begun to end, even if it is cancelled meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from typing import Any, Final

STOP_TIMEOUT_S: Final = 0.9
"""How long stopping may take, in seconds: a repository's port promises a second in all."""

_log = logging.getLogger(__name__)


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


async def stop(tasks: Collection[asyncio.Task[None]], close: Callable[[], Awaitable[None]], far: str) -> None:
    """Cancel tasks, wait until they have ended, and close what they used: to the end, or for ``STOP_TIMEOUT_S``.

    Args:
        tasks: The tasks.
        close: Closes it.
        far: Where its connections lead, for the log.

    Raises:
        asyncio.CancelledError: The caller was cancelled meanwhile. It is done all the same.
    """
    for task in tasks:
        task.cancel()
    await to_the_end(_ended(tasks, close, far))


async def _ended(tasks: Collection[asyncio.Task[None]], close: Callable[[], Awaitable[None]], far: str) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await asyncio.gather(*tasks, return_exceptions=True)
            await close()
    except TimeoutError:
        _log.warning("connections to %s were not closed within %g s", far, STOP_TIMEOUT_S)
