"""What kdm does with each kubeconfig of the table is what kubectl does, or a decision says why not."""

from __future__ import annotations

import pytest

from . import page
from .case import Case
from .running import Oracle
from .table import TABLE

pytestmark = pytest.mark.asyncio(loop_scope="session")

CASES = [case for cases in TABLE.values() for case in cases]


def named(cases: list[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", cases, ids=lambda case: case.claim)


@named([case for case in CASES if not case.differs])
async def test_kdm_does_what_kubectl_does(oracle: Oracle, case: Case) -> None:
    """The same arrives at the same servers and proxies; or both refuse, and nothing was sent."""
    both = await oracle.ask(case)
    assert both.alike, f"kubectl: {both.kubectl}\nkdm: {both.kdm}"


@named([case for case in CASES if case.differs])
async def test_kdm_differs_where_a_decision_says_why(oracle: Oracle, case: Case) -> None:
    """And really does: a reason that is none any more has to go."""
    both = await oracle.ask(case)
    assert not both.alike, f"kubectl: {both.kubectl}\nkdm: {both.kdm}"


async def test_the_page_tells_what_was_seen(oracle: Oracle) -> None:
    """``python -m integration.kubeconfigs``, in ``tests/``, renews it."""
    told = page.PAGE.read_text(encoding="utf-8")
    assert page.renewed(told, await page.text(oracle)) == told


async def test_every_kubeconfig_of_the_table_claims_something_else() -> None:
    claims = {case.claim for case in CASES}
    assert len(claims) == len(CASES) >= 80
