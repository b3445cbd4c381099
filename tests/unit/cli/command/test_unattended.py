"""`kdm park` and `kdm restore` when nobody looks on, as a schedule gives them: they go on, and try again."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import pytest

from kdm_adapters.memory.cluster import MemoryCluster
from kdm_adapters.remote.client import Answer
from kdm_cli.client.api import Kdm
from kdm_cli.commands import writing
from kdm_cli.exits import CommandError, Exit
from kdm_core import DeploymentRef
from unit.cli.command.asking import Asked, Command


@pytest.fixture
def shop(kdm: Asked) -> list[DeploymentRef]:
    """Three Deployments of a tier; alice may not bring back more than 50."""
    return [
        kdm.create(f"{ns}/{name}", count, tier="dev")
        for ns, name, count in (
            ("night", "api", 2),
            ("night", "web", 3),
            ("other", "big", 60),
        )
    ]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens in each pause between attempts."""
    todo: list[Callable[[], object]] = []

    def pause() -> None:
        todo.pop(0)()

    monkeypatch.setattr(writing, "pause", pause)
    return todo


def counts(kdm: Asked, refs: list[DeploymentRef]) -> list[int]:
    return [kdm.desired(ref) for ref in refs]


def test_one_refusal_does_not_keep_the_others_from_coming_back_and_is_in_the_exit_code(
    kdm: Asked, run: Command, shop: list[DeploymentRef]
) -> None:
    assert run("park", "-A", "-l", "tier=dev", "--park-id", "n", "-y").code == 0
    assert counts(kdm, shop) == [0, 0, 0]
    stopped = run("restore", "-A", "-l", "tier=dev", "--park-id", "n", "-y")
    assert (stopped.code, counts(kdm, shop)) == (Exit.DENIED, [0, 0, 0])
    plan = run("restore", "-A", "-l", "tier=dev", "--park-id", "n", "--on-error", "continue", "--dry-run")
    assert (plan.code, counts(kdm, shop)) == (Exit.PARTLY, [0, 0, 0])
    ran = run("restore", "-A", "-l", "tier=dev", "--park-id", "n", "-y", "--on-error", "continue")
    assert (ran.code, counts(kdm, shop)) == (Exit.PARTLY, [2, 3, 0])
    *lines, batch = ran.out.splitlines()
    assert lines[:2] == ["night/api: 0 -> 2", "night/web: 0 -> 3"]
    assert lines[2].startswith("other/big: ")
    assert "60" in lines[2]
    assert batch.startswith("batch ")
    kdm.do(lambda cluster: cluster.scale(shop[2], 1))
    assert run("restore", "-A", "-l", "tier=dev", "--park-id", "n", "-y").code == 0


def test_what_somebody_scaled_and_what_is_another_one_is_named_and_what_is_gone_stops_nobody(
    kdm: Asked, run: Command
) -> None:
    refs = [kdm.create(f"dawn/{name}", 2, tier="dawn") for name in ("a", "b", "c", "d")]
    run("park", "-n", "dawn", "--all", "--park-id", "d", "-y")
    kdm.do(lambda cluster: cluster.scale(refs[0], 5))
    for ref in refs[1:3]:
        kdm.served.do(partial(kdm.cluster.delete, ref))
    kdm.create("dawn/b", 4, tier="dawn")
    ran = run("restore", "--park-id", "d", "-y")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines()[:-1] == [
        "dawn/a: stays at 5: somebody scaled it since it was parked with 2: it is left alone",
        "dawn/b: stays at 4: it was deleted and created again since it was parked with 2: it is left alone",
        "dawn/c: it does not exist any more: it was deleted since it was parked with 2",
        "dawn/d: 0 -> 2",
    ]
    assert run("park", "--list", "-n", "dawn", "-o", "name").out == ""


@pytest.fixture
def crowd(kdm: Asked) -> Iterator[list[DeploymentRef]]:
    """More Deployments than one request may have, with names that make it too large before."""
    refs = [kdm.create(f"crowd/{index:03}-{'long' * 30}", 2, tier="crowd") for index in range(501)]
    yield refs
    for ref in refs:
        kdm.do(partial(MemoryCluster.delete, ref=ref))


def test_more_than_one_request_may_have_is_parked_and_comes_back_in_several(
    kdm: Asked, run: Command, crowd: list[DeploymentRef]
) -> None:
    unattended = ("-A", "-l", "tier=crowd", "--park-id", "c", "-y", "--on-error", "continue")
    parked = run("park", *unattended)
    assert (parked.code, set(counts(kdm, crowd))) == (0, {0})
    assert len(parked.out.splitlines()) == len(crowd) + 1
    restored = run("restore", *unattended)
    assert (restored.code, set(counts(kdm, crowd))) == (0, {2})
    assert restored.out.splitlines()[-1].count(", ") > 0, "several batches"


def test_what_was_done_before_a_request_failed_is_shown(
    kdm: Asked, run: Command, crowd: list[DeploymentRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    scale, sent = Kdm.scale, itertools.count()

    def once(self: Kdm, body: Mapping[str, Any], **more: Any) -> Answer:
        if next(sent) == 2:
            raise CommandError("kdm is gone", Exit.UNAVAILABLE)
        return scale(self, body, **more)

    monkeypatch.setattr(Kdm, "scale", once)
    ran = run("park", "-A", "-l", "tier=crowd", "--park-id", "c", "-y", "--on-error", "continue")
    assert (ran.code, ran.line) == (Exit.UNAVAILABLE, "kdm is gone")
    done = ran.out.splitlines()[:-1]
    assert len(done) == counts(kdm, crowd).count(0) > 0


def test_it_is_tried_again_until_the_cluster_answers(
    kdm: Asked, run: Command, shop: list[DeploymentRef], pauses: list[Callable[[], object]]
) -> None:
    some = shop[:2]
    pauses += [lambda: None, lambda: kdm.served.do(lambda: setattr(kdm.repository.faults, "unreachable", False))]
    kdm.served.do(lambda: setattr(kdm.repository.faults, "unreachable", True))
    ran = run("park", "-n", "night", "--all", "-y", "--on-error", "continue", "--retry", "10m")
    assert (ran.code, counts(kdm, some), pauses) == (0, [0, 0], [])
    tries = [line for line in ran.err.splitlines() if line.endswith("; trying again in 5 s")]
    assert len(tries) == 2
    assert "2 of 2 are left to do" in tries[0]
    assert run("restore", "-n", "night", "--all", "-y").code == 0
    assert counts(kdm, some) == [2, 3]


def test_without_patience_the_first_failure_is_the_end(
    kdm: Asked, run: Command, shop: list[DeploymentRef], pauses: list[Callable[[], object]]
) -> None:
    with kdm.fault("unreachable"):
        ran = run("park", "-n", "night", "--all", "-y", "--on-error", "continue")
    assert ran.code != 0
    assert (counts(kdm, shop[:2]), pauses) == ([2, 3], [])


def test_what_trying_again_cannot_mend_is_not_tried_again(run: Command, pauses: list[Callable[[], object]]) -> None:
    ran = run("park", "-n", "night", "-l", "not a selector", "-y", "--retry", "10m")
    assert (ran.code, pauses) == (Exit.USAGE, [])


@pytest.mark.parametrize("verb", ["park", "restore"])
@pytest.mark.parametrize("form", [(), ("--on-error", "continue")])
def test_nothing_to_do_is_a_failure_unless_it_is_said_that_it_is_none(
    run: Command, verb: str, form: tuple[str, ...]
) -> None:
    nothing = (verb, "-A", "-l", "tier=none", "-y", *form)
    assert run(*nothing).code == Exit.NOT_FOUND
    fine = run(*nothing, "--ignore-not-found")
    assert (fine.code, fine.out) == (0, "")
    assert fine.line


def test_all_and_a_selector_exclude_each_other(run: Command) -> None:
    assert "-l and --all exclude each other" in run("park", "-l", "a=b", "--all", "-y").line
    assert run("restore", "web", "--all", "-y").code == Exit.USAGE
