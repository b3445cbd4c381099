"""Requests that are nearly right, by the thousand: each is answered or its connection closed, and nobody else notices.

``nox -s nightly`` sends twelve times as many. The seed is in the output; ``KDM_TEST_SEED`` sends the same again.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import SystemRandom
from typing import Final
from urllib.parse import urlsplit

import pytest

from fuzz.wire import send_mutated
from integration.kdm_process import UNLIMITED, KdmProcess, client_context, wait_until
from integration.loops import every_loop

NIGHTLY: Final = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
REQUESTS: Final = 500_000 if NIGHTLY else 40_000
"""How many are sent on each event loop."""

WARM_UP: Final = REQUESTS * 2 // 5
"""How many of them go before the memory is measured: it grows by 11 MiB in the first 250,000, most of it at first."""

GROWTH_BYTES: Final = 6 * 2**20
"""How much more memory kdm may take after all of them than after the warm-up: allocators are not tidy."""


@every_loop
@pytest.mark.timeout(0 if NIGHTLY else 600)
def test_mutated_requests_are_answered_or_closed_and_nobody_else_notices(loop: str, tmp_path: Path) -> None:
    """No 5xx, no hang, no answer of another form, no growth, and a good client is served throughout."""
    seed = int(os.environ.get("KDM_TEST_SEED", SystemRandom().randrange(2**32)))
    with KdmProcess({**UNLIMITED, "LOOP": loop, "LOG_LEVEL": "error"}, tmp_path / "log") as kdm:
        kdm.wait_ready()
        port, bad, good = urlsplit(kdm.url).port or 0, client_context("dev-admin"), client_context("dev-viewer")
        send_mutated(port, bad, good, requests=WARM_UP, seed=seed + 1)
        descriptors, memory = _descriptors(kdm.pid), _resident_bytes(kdm.pid)
        started = time.monotonic()
        figures = send_mutated(port, bad, good, requests=REQUESTS - WARM_UP, seed=seed)
        seconds = time.monotonic() - started
        growth = _resident_bytes(kdm.pid) - memory
        print(f"\n{loop}, seed {seed}: {figures}; {seconds:.0f} s; grown by {growth / 2**20:.1f} MiB")
        assert growth <= GROWTH_BYTES
        wait_until(lambda: _descriptors(kdm.pid) <= descriptors)
        log = kdm.output()
    assert "Traceback" not in log, log[-3000:]
    assert figures.good > 0


def _descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
