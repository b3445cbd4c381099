"""`kdm wait` for several: bars on a terminal, a line for each end elsewhere."""

from __future__ import annotations

from functools import partial

import pytest

from kdm_cli.exits import Exit
from kdm_core import DeploymentRef
from unit.cli.command.asking import Asked, Command, SlowCluster
from unit.cli.command.stage import Stage, Staged, ctrl_c, shows


@pytest.fixture
def pair(kdm: Asked) -> tuple[DeploymentRef, DeploymentRef]:
    """Two Deployments that are to have five Pods, and have three until a test lets them go on."""
    api, web = (kdm.create(f"shop/{name}", 3, held=True) for name in ("api", "web"))
    for ref in (api, web):
        kdm.do(partial(SlowCluster.scale, ref=ref, replicas=5))
    return api, web


def let_go(kdm: Asked, *refs: DeploymentRef) -> None:
    for ref in refs:
        kdm.do(partial(SlowCluster.let_go, ref=ref))


class TestLines:
    def test_each_end_is_a_line_when_it_comes(
        self, kdm: Asked, pair: tuple[DeploymentRef, DeploymentRef], staged: Staged
    ) -> None:
        api, web = pair
        let_go(kdm, api)
        stage = Stage((shows("shop/api: done"), lambda: let_go(kdm, web)))
        ran = staged("wait", "shop/api", "shop/web", "shop/api", stage=stage)
        assert (ran.code, ran.err) == (0, "")
        assert stage.lines == ["shop/api: done: 5 of 5 available", "shop/web: done: 5 of 5 available"]

    def test_where_some_come_through_and_others_do_not_it_is_partly(
        self, kdm: Asked, pair: tuple[DeploymentRef, DeploymentRef], run: Command
    ) -> None:
        let_go(kdm, *pair)
        ran = run("wait", "shop/api", "shop/nope")
        assert ran.code == Exit.PARTLY
        good, bad = sorted(ran.out.splitlines())
        assert good == "shop/api: done: 5 of 5 available"
        assert bad.startswith("shop/nope: ")


class TestBars:
    def test_they_grow_and_end_with_how_it_ended(
        self, kdm: Asked, pair: tuple[DeploymentRef, DeploymentRef], staged: Staged
    ) -> None:
        api, web = pair
        stage = Stage(
            (lambda shown: shown.count("3/5") == 2, lambda: let_go(kdm, api)),
            (shows("5/5", "done", "3/5"), lambda: let_go(kdm, web)),
            columns=100,
        )
        ran = staged("wait", "shop/api", "shop/web", stage=stage)
        assert (ran.code, ran.err) == (0, "")
        title, *rows = stage.lines
        assert title.split()[:2] == ["NAME", "AVAILABLE"]
        assert [row.split() for row in rows] == [
            ["shop/api", "5/5", "━" * 20, "done"],
            ["shop/web", "5/5", "━" * 20, "done"],
        ]

    def test_ctrl_c_says_how_to_wait_again(
        self, kdm: Asked, pair: tuple[DeploymentRef, DeploymentRef], staged: Staged
    ) -> None:
        stage = Stage((lambda shown: shown.count("3/5") == 2, ctrl_c), columns=100)
        ran = staged("wait", "shop/api", "shop/web", stage=stage)
        assert ran.code == Exit.INTERRUPTED
        assert ran.line == "interrupted; the change itself goes on. To wait again: kdm wait shop/api shop/web"
        assert [kdm.desired(ref) for ref in pair] == [5, 5]

    def test_one_that_is_deleted_and_one_that_never_was_are_said_apart(
        self, kdm: Asked, pair: tuple[DeploymentRef, DeploymentRef], staged: Staged
    ) -> None:
        _, web = pair
        stage = Stage((shows("3/5", "unknown"), lambda: kdm.do(lambda cluster: cluster.delete(web))), columns=120)
        ran = staged("wait", "shop/web", "other/nope", stage=stage)
        assert ran.code == Exit.PARTLY
        by_name = {line.split()[0]: line for line in stage.lines[1:]}
        assert "deleted" in by_name["shop/web"]
        assert "unknown" in by_name["other/nope"]
