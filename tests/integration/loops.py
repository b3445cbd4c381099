"""The event loops that kdm runs on."""

from __future__ import annotations

from typing import Final

import pytest

every_loop: Final = pytest.mark.parametrize("loop", ["uvloop", pytest.param("asyncio", marks=pytest.mark.nightly)])
"""uvloop is the default where it is installed. The unit tests run on both for every change, these each night."""
