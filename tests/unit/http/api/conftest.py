"""Every change is tested on uvloop, every night on asyncio too: beneath the API, the server's tests are on both."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and "[asyncio" in item.name:
            item.add_marker(pytest.mark.nightly)
