"""Several Deployments at once: the plan, the question, exactly what was shown, and what came of it."""

from __future__ import annotations

import pytest

from kdm_cli.exits import Exit
from kdm_core import DeploymentRef
from unit.cli.command.asking import Asked, Command, seat


@pytest.fixture
def shop(kdm: Asked) -> list[DeploymentRef]:
    """Three Deployments, two of them of the tier web."""
    return [
        kdm.create("shop/api", 2, tier="web"),
        kdm.create("shop/web", 3, tier="web"),
        kdm.create("shop/worker", 1, tier="batch"),
    ]


def counts(kdm: Asked, refs: list[DeploymentRef]) -> list[int]:
    return [kdm.desired(ref) for ref in refs]


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (["-l", "tier=web", "--factor", "2"], [4, 6, 1]),
        (["-l", "tier=web", "--delta=-1"], [1, 2, 1]),
        (["-l", "tier in (web,batch)", "--replicas", "5"], [5, 5, 5]),
        (["api=5", "worker=+2"], [5, 3, 3]),
        (["shop/api=0", "shop/web=-1"], [0, 2, 1]),
    ],
)
def test_with_yes_it_is_done(
    kdm: Asked, run: Command, shop: list[DeploymentRef], change: list[str], after: list[int]
) -> None:
    ran = run("scale", *change, "-n", "shop", "-y")
    assert ran.code == 0
    assert counts(kdm, shop) == after
    *lines, batch = ran.out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        str(ref) for ref, count, before in zip(shop, after, [2, 3, 1], strict=True) if count != before
    ]
    assert batch.startswith("batch ")


def test_without_yes_and_without_a_terminal_the_plan_is_shown_and_nothing_done(
    kdm: Asked, run: Command, shop: list[DeploymentRef]
) -> None:
    ran = run("scale", "-n", "shop", "-l", "tier=web", "--factor", "2")
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    *plan, line = ran.err.splitlines()
    assert [row.split()[:3] for row in plan] == [["NAME", "FROM", "TO"], ["shop/api", "2", "4"], ["shop/web", "3", "6"]]
    assert line.startswith("kdm: --yes is needed")
    assert counts(kdm, shop) == [2, 3, 1]


def test_a_dry_run_prints_the_plan(kdm: Asked, run: Command, shop: list[DeploymentRef]) -> None:
    ran = run("scale", "-n", "shop", "-l", "tier=web", "--factor", "2", "--dry-run")
    assert (ran.code, ran.err) == (0, "")
    assert [row.split()[:3] for row in ran.out.splitlines()[1:]] == [["shop/api", "2", "4"], ["shop/web", "3", "6"]]
    plan = run("scale", "-n", "shop", "-l", "tier=web", "--factor", "2", "--dry-run", "-o", "json").json
    assert [(item["from"], item["to"]) for item in plan["items"]] == [(2, 4), (3, 6)]
    assert counts(kdm, shop) == [2, 3, 1]


def test_exactly_what_was_shown_is_done_or_nothing(
    kdm: Asked, run: Command, shop: list[DeploymentRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody scales one of them while the question stands: the plan's tag does not hold any more."""

    def meanwhile() -> str:
        kdm.do(lambda cluster: cluster.scale(shop[0], 7))
        return "y"

    seat(monkeypatch, meanwhile)
    ran = run("scale", "-n", "shop", "-l", "tier=web", "--factor", "2")
    assert ran.code == Exit.PRECONDITION
    assert counts(kdm, shop) == [7, 3, 1]


def test_one_refusal_is_shown_and_nothing_is_done(kdm: Asked, run: Command, shop: list[DeploymentRef]) -> None:
    ran = run("scale", "-n", "shop", "api=5", "worker=99", "-y")
    assert ran.code == Exit.DENIED
    *plan, line = ran.err.splitlines()
    assert "to 99 replicas" in plan[-1]
    assert line == "kdm: 1 of 2 refused; nothing was changed"
    assert counts(kdm, shop) == [2, 3, 1]


def test_a_selector_that_finds_nothing_is_not_found(run: Command) -> None:
    ran = run("scale", "-n", "shop", "-l", "tier=none", "--replicas", "1", "-y")
    assert ran.code == Exit.NOT_FOUND
    assert ran.line == "no Deployments found; nothing was changed"


def test_what_is_so_already_needs_no_question(kdm: Asked, run: Command, shop: list[DeploymentRef]) -> None:
    ran = run("scale", "-n", "shop", "-l", "tier=web", "--factor", "1")
    assert ran.code == 0
    assert ran.out.splitlines() == ["shop/api: already 2", "shop/web: already 3"]
    assert counts(kdm, shop) == [2, 3, 1]


def test_waiting_for_several_says_how_each_ended(kdm: Asked, run: Command, shop: list[DeploymentRef]) -> None:
    ran = run("scale", "-n", "shop", "-l", "tier=web", "--delta", "1", "-y", "--wait")
    assert ran.code == 0
    assert sorted(ran.out.splitlines())[1:] == [
        "shop/api: 2 -> 3",
        "shop/api: done: 3 of 3 available",
        "shop/web: 3 -> 4",
        "shop/web: done: 4 of 4 available",
    ]
    kdm.do(lambda cluster: cluster.held.add(shop[0]))
    ran = run("scale", "-n", "shop", "-l", "tier=web", "--delta", "1", "-y", "--wait=0s", "-o", "json")
    assert ran.code == Exit.PARTLY
    assert {item["name"]: item["rollout"]["outcome"] for item in ran.json["items"]} == {"api": "timeout", "web": "done"}


def test_a_kdm_that_lacks_a_feature_says_so_in_one_line(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdm_cli.client.api import Kdm  # noqa: PLC0415

    about = Kdm.about

    def without(self: Kdm) -> dict[str, object]:
        said = about(self)
        return {**said, "features": dict.fromkeys(said["features"], False)}

    monkeypatch.setattr(Kdm, "about", without)
    for arguments in (["scale", "a=1", "b=2"], ["park", "a"], ["restore", "a"], ["history"], ["undo", "a"]):
        ran = run(*arguments)
        assert ran.code == Exit.OTHER
        assert ran.line.startswith("this kdm does not offer ")
