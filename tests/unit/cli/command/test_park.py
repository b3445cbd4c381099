"""`kdm park` and `kdm restore`: to zero and back."""

from __future__ import annotations

import pytest

from kdm_cli.exits import Exit
from kdm_core import DeploymentRef
from unit.cli.command.asking import Asked, Command


@pytest.fixture
def shop(kdm: Asked) -> list[DeploymentRef]:
    return [kdm.create(name, count, tier="web") for name, count in (("shop/api", 2), ("shop/web", 3))]


def counts(kdm: Asked, refs: list[DeploymentRef]) -> list[int]:
    return [kdm.desired(ref) for ref in refs]


def test_one_is_parked_and_restored(kdm: Asked, run: Command, shop: list[DeploymentRef]) -> None:
    assert run("park", "shop/web").code == Exit.USAGE  # zero is asked about
    parked = run("park", "shop/web", "-y", "--reason", "night")
    assert parked.code == 0
    assert parked.out.startswith("shop/web: 3 -> 0 (park id ")
    assert counts(kdm, shop) == [2, 0]
    assert "(parked at 3)" in run("get", "shop/web").out
    listed = run("park", "--list", "-A").out.splitlines()
    assert listed[1].split()[:2] == ["shop/web", "3"]
    assert run("restore", "shop/web").out == "shop/web: 0 -> 3\n"
    assert counts(kdm, shop) == [2, 3]


def test_a_batch_is_restored_by_its_id_and_nothing_else_is_touched(
    kdm: Asked, run: Command, shop: list[DeploymentRef]
) -> None:
    other = kdm.create("shop/other", 4)
    run("park", "shop/other", "-y", "--park-id", "else")
    ran = run("park", "-n", "shop", "-l", "tier=web", "-y", "--park-id", "night")
    assert ran.code == 0
    assert counts(kdm, [*shop, other]) == [0, 0, 0]
    kdm.do(lambda cluster: cluster.scale(shop[0], 9))  # somebody needs it meanwhile
    plan = run("restore", "--park-id", "night", "--dry-run").out.splitlines()
    assert [line.split()[:3] for line in plan[1:]] == [["shop/api", "9", "9"], ["shop/web", "0", "3"]]
    assert run("restore", "--park-id", "night", "-y").code == 0
    assert counts(kdm, [*shop, other]) == [9, 3, 0]
    assert run("restore", "shop/other").code == 0


def test_one_is_woken_to_a_few(kdm: Asked, run: Command, shop: list[DeploymentRef]) -> None:
    run("park", "shop/web", "-y")
    assert run("restore", "shop/web", "--replicas", "1").out == "shop/web: 0 -> 1\n"
    assert run("restore", "shop/web").out == "shop/web: 1 -> 3\n"
    assert counts(kdm, shop) == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["park"], Exit.USAGE, "say which: names, -l SELECTOR"),
        (["restore"], Exit.USAGE, "--park-id ID"),
        (["park", "web", "-A"], Exit.USAGE, "exclude each other"),
        (["restore", "--park-id", "none", "-y"], Exit.NOT_FOUND, "nothing is parked there"),
        (["restore", "-l", "a=b", "--replicas", "1"], Exit.USAGE, "--replicas wakes one Deployment"),
        (["park", "nope", "-y"], Exit.NOT_FOUND, "'default/nope' not found"),
    ],
)
def test_what_cannot_be_parked_or_restored_is_one_line(
    run: Command, arguments: list[str], code: Exit, told: str
) -> None:
    ran = run(*arguments)
    assert ran.code == code
    assert told in ran.line
