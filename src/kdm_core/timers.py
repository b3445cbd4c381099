"""Calling a function later: on the event loop, or on a clock that a test turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """Something that was asked to happen later."""

    def cancel(self) -> None:
        """See that it does not."""


CallLater = Callable[[float, Callable[[], None]], Timer]
"""Calls a function after so many seconds, on the event loop's thread."""


def call_later(seconds: float, call: Callable[[], None]) -> Timer:
    """Call a function after so many seconds, on the running event loop."""
    return asyncio.get_running_loop().call_later(seconds, call)
