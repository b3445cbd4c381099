"""Every exit code, by what leads to it: in each case through the real command against a real kdm."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kdm_cli.exits import MEANINGS, OUTCOMES, CommandError, Exit, of_several
from kdm_cli.main import main
from kdm_core import DeploymentCondition, DeploymentRef, RolloutOutcome
from unit.cli.command.asking import Asked, Command, SlowCluster


@pytest.fixture
def web(kdm: Asked) -> Iterator[DeploymentRef]:
    """A Deployment whose Pods follow only when a test lets them."""
    ref = kdm.create("default/web", 3, held=True)
    yield ref
    kdm.do(lambda cluster: cluster.held.discard(ref))


def when_written(kdm: Asked, ref: DeploymentRef, then: Callable[[SlowCluster], object]) -> None:
    """Do something with the cluster as soon as a count was written."""

    def watch(changed: DeploymentRef, _: object) -> None:
        if changed == ref:
            kdm.cluster.watchers.remove(watch)
            asyncio.get_running_loop().call_later(0.05, then, kdm.cluster)  # behind the write's own news

    kdm.do(lambda cluster: cluster.watchers.append(watch))


def test_0_done(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    when_written(kdm, web, lambda cluster: cluster.let_go(web))
    ran = run("scale", "web=5", "--wait")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == "default/web: done: 5 of 5 available"


def test_1_other(run: Command, contexts: Path) -> None:
    """The server's certificate is not from the CA that the context names."""
    other = contexts.parent / "other"
    main(["certs", "init", str(other)])
    assert run("get", "--ca", str(other / "ca.pem")).code == 1


def test_2_usage(run: Command) -> None:
    assert run("scale", "web").code == 2


def test_3_not_found(run: Command) -> None:
    assert run("get", "nope").code == 3
    assert run("scale", "nope=3").code == 3
    assert run("wait", "nope").code == 3


def test_4_denied(run: Command, web: DeploymentRef) -> None:
    ran = run("scale", f"{web}=5", "--context", "bob")
    assert ran.code == 4
    assert ran.line.startswith("user 'bob' lacks the permission 'scale'")


def test_5_precondition(run: Command, web: DeploymentRef) -> None:
    assert run("scale", f"{web}=5", "--current-replicas", "1").code == 5


def test_6_refused(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    assert run("scale", f"{web}=-9", "-y").code == 6
    with kdm.fault("invalid"):
        assert run("scale", f"{web}=5").code == 6
    with kdm.fault("forbidden"):
        assert run("scale", f"{web}=5").code == 6


def test_7_unavailable(run: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    ran = run("get", "--server", f"https://127.0.0.1:{port}")
    assert ran.code == 7
    assert ran.line.startswith(f"nothing listens at 127.0.0.1:{port}")


def test_8_ambiguous(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    with kdm.fault("answer_lost"):
        assert run("scale", f"{web}=5").code == 8


def test_10_superseded(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    when_written(kdm, web, lambda cluster: cluster.scale(web, 9))
    ran = run("scale", "web=5", "--wait")
    assert ran.code == 10
    assert ran.out.splitlines()[-1].startswith("default/web: superseded: ")


def test_11_blocked(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    quota = DeploymentCondition("True", "FailedCreate", "exceeded quota")
    when_written(kdm, web, lambda cluster: cluster.report(web, replica_failure=quota))
    ran = run("scale", "web=5", "--wait")
    assert ran.code == 11
    assert "exceeded quota" in ran.out


def test_12_stalled(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    late = DeploymentCondition("False", "ProgressDeadlineExceeded", "it has timed out progressing")
    when_written(kdm, web, lambda cluster: cluster.report(web, current=5, progressing=late))
    assert run("scale", "web=5", "--wait").code == 12


def test_13_deleted(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    when_written(kdm, web, lambda cluster: cluster.delete(web))
    assert run("scale", "web=5", "--wait").code == 13


def test_14_partly(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    other = kdm.create("default/other", 1)
    ran = run("wait", str(other), "web", "--timeout", "1s")
    assert ran.code == 0
    kdm.do(lambda cluster: cluster.scale(web, 4))
    assert run("wait", str(other), "web", "--timeout", "50ms").code == 14
    assert run("get", "web", "nope").code == 14


def test_15_interrupted(kdm: Asked, run: Command, web: DeploymentRef, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C while it waits: the change stays, and the command says so."""
    from kdm_cli.news import Desk  # noqa: PLC0415

    def pressed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Desk, "take", pressed)
    ran = run("scale", "web=5", "--wait")
    assert ran.code == 15
    assert ran.line == "interrupted; the change itself goes on. To wait again: kdm wait default/web"
    assert kdm.desired(web) == 5


def test_124_timeout(run: Command, web: DeploymentRef) -> None:
    ran = run("scale", f"{web}=5", "--wait=50ms")
    assert ran.code == 124
    assert ran.out.splitlines()[-1].startswith("default/web: timeout: ")


def test_every_outcome_of_a_wait_has_an_exit_code_and_every_code_a_meaning() -> None:
    assert set(OUTCOMES) == {each.value for each in RolloutOutcome}
    assert set(MEANINGS) == set(Exit)
    assert sorted(Exit) == [*range(9), *range(10, 16), 124]


@pytest.mark.parametrize(
    ("exits", "all_in_all"),
    [
        ([Exit.DONE, Exit.DONE], Exit.DONE),
        ([Exit.STALLED, Exit.STALLED], Exit.STALLED),
        ([Exit.DONE, Exit.STALLED], Exit.PARTLY),
        ([Exit.TIMEOUT, Exit.STALLED], Exit.PARTLY),
    ],
)
def test_several_end_alike_or_partly(exits: list[Exit], all_in_all: Exit) -> None:
    assert of_several(exits) is all_in_all


def test_an_error_of_python_is_no_way_to_end(run: Command, contexts: Path) -> None:
    """Whatever is wrong with the output or the file of contexts is one line, without a traceback."""
    contexts.chmod(0)
    contexts.unlink()
    contexts.mkdir()
    ran = run("get")
    assert ran.code == Exit.USAGE
    assert "Is a directory" in ran.line


def test_the_error_carries_what_the_command_exits_with() -> None:
    assert CommandError("x", Exit.DENIED).exit == 4
