"""`kdm history` and `kdm undo`: who changed what, and back."""

from __future__ import annotations

import pytest

from kdm_cli.exits import Exit
from kdm_core import DeploymentRef
from unit.cli.command.asking import Asked, Command


@pytest.fixture
def web(kdm: Asked) -> DeploymentRef:
    return kdm.create("default/web", 3, tier="web")


def test_it_says_who_changed_what_and_why_newest_first(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    run("scale", "web=5", "--reason", "sale")
    kdm.do(lambda cluster: cluster.scale(web, 9))
    ran = run("history", "web")
    assert ran.code == 0
    title, newest, older = ran.out.splitlines()[:3]
    assert title.split() == ["AGO", "NAME", "FROM", "TO", "BY", "REASON", "BATCH"]
    assert newest.split()[1:4] == ["default/web", "5", "9"]
    assert older.split()[1:6] == ["default/web", "3", "5", "alice", "sale"]
    assert ran.line.startswith("watching since ")
    assert [each["desired"] for each in run("history", "web", "--limit", "1", "-o", "json").json["items"]] == [9]


def test_of_a_namespace_of_all_and_of_a_selector(kdm: Asked, run: Command) -> None:
    for name in ("many/a", "many/b", "more/c"):
        kdm.create(name, 1, tier="history" if name != "many/b" else "other")
        run("scale", f"{name}=2")
    assert [each["name"] for each in run("history", "-n", "many", "-o", "json").json["items"]] == ["b", "a"]
    everywhere = run("history", "-A", "-l", "tier=history", "-o", "json").json["items"]
    assert [each["name"] for each in everywhere] == ["c", "a"]
    assert run("history", "-n", "none").line.startswith("no changes seen; watching since ")


def test_undo_writes_the_count_back_that_was_there(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    run("scale", "web=5", "--reason", "sale")
    ran = run("undo", "web")
    assert ran.code == 0
    assert ran.out.startswith("default/web: 5 -> 3 (undoes the change by alice, ")
    assert kdm.desired(web) == 3


def test_undo_to_zero_is_asked_about(kdm: Asked, run: Command) -> None:
    ref = kdm.create("default/off", 0)
    run("scale", "off=2")
    ran = run("undo", "off")
    assert ran.code == Exit.USAGE
    assert kdm.desired(ref) == 2
    assert run("undo", "off", "-y").code == 0
    assert kdm.desired(ref) == 0


def test_undo_of_a_batch_takes_all_of_it_back_or_nothing(kdm: Asked, run: Command) -> None:
    refs = [kdm.create("batch/a", 2, tier="x"), kdm.create("batch/b", 3, tier="x")]
    batch = run("scale", "-n", "batch", "-l", "tier=x", "--factor", "2", "-y", "-o", "json").json["batch"]
    assert [kdm.desired(ref) for ref in refs] == [4, 6]
    kdm.do(lambda cluster: cluster.scale(refs[1], 7))
    ran = run("undo", "--batch", batch, "-y")
    assert ran.code == Exit.PRECONDITION
    assert [kdm.desired(ref) for ref in refs] == [4, 7]
    kdm.do(lambda cluster: cluster.scale(refs[1], 6))
    assert run("undo", "--batch", batch, "-y").code == 0
    assert [kdm.desired(ref) for ref in refs] == [2, 3]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["undo"], Exit.USAGE, "say what to undo: a NAME, or --batch ID"),
        (["undo", "web", "--batch", "x"], Exit.USAGE, "say what to undo"),
        (["undo", "--batch", "nowhere"], Exit.NOT_FOUND, "kdm remembers no batch 'nowhere'"),
        (["undo", "nope"], Exit.NOT_FOUND, "'default/nope' not found"),
        (["history", "web", "-A"], Exit.USAGE, "exclude each other"),
        (["history", "--since", "soon"], Exit.USAGE, "expected a duration"),
    ],
)
@pytest.mark.usefixtures("web")
def test_what_cannot_be_undone_is_one_line(run: Command, arguments: list[str], code: Exit, told: str) -> None:
    ran = run(*arguments)
    assert ran.code == code
    assert told in ran.line


def test_nothing_seen_is_nothing_to_undo(kdm: Asked, run: Command) -> None:
    kdm.create("default/fresh", 3)
    ran = run("undo", "fresh")
    assert ran.code == Exit.OTHER
    assert "kdm has seen no change since it was started" in ran.line
