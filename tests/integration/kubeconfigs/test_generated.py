"""Whatever kubeconfigs come together, kdm decides as kubectl does."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, settings

from .case import Case
from .generated import cases
from .running import Oracle

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(0 if NIGHTLY else 300)
@settings(
    max_examples=2000 if NIGHTLY else 40,
    deadline=None,
    derandomize=not NIGHTLY,
    database=None,
    print_blob=NIGHTLY,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(case=cases())
async def test_kdm_decides_as_kubectl_does(oracle: Oracle, case: Case) -> None:
    """The same arrives at the same servers and proxies; or both refuse, and nothing was sent."""
    both = await oracle.compare(case)
    assert both.alike, f"kubectl: {both.kubectl}\nkdm: {both.kdm}"
