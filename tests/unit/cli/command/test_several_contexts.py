"""One command for several kdm, of which one is down, does not answer, is wrong, or has another namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kdm_cli.commands import following
from kdm_cli.exits import Exit
from kdm_core import DeploymentRef
from unit.adapters.remote.test_client import Talker, tls_server
from unit.cli.command.asking import Asked, Command, asked, context_file
from unit.cli.command.stage import Stage, Staged, close, ctrl_c, shows
from unit.cli.command.terminal import heed_ctrl_c

KDM = [sys.executable, "-m", "kdm_cli"]
ENDS_S = 25
"""By when a command has ended after Ctrl-C, in seconds: sooner than an answer that does not come is given up."""


@pytest.fixture(autouse=True)
def web(kdm: Asked) -> DeploymentRef:
    return kdm.create("shop/web", 3)


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asked(tmp_path_factory.mktemp("other")) as running:
        running.create("shop/web", 7)
        yield running


@contextmanager
def plain() -> Iterator[str]:
    """Answer with something that is not TLS: that is no kdm, now and later."""
    with Talker(lambda peer: peer.sendall(b"hello\r\n" * 10)) as port:
        yield f"https://127.0.0.1:{port}"


@contextmanager
def silent() -> Iterator[str]:
    """Accept connections, and say nothing."""
    over = threading.Event()
    with Talker(lambda _: over.wait()) as port:
        yield f"https://127.0.0.1:{port}"
        over.set()


@pytest.mark.parametrize("columns", [0, 200])
def test_a_view_shows_a_context_that_is_down_once_it_is_there(
    kdm: Asked, other: Asked, contexts: Path, staged: Staged, columns: int
) -> None:
    context_file(contexts, kdm.served, other.served)
    other.served.stop()
    here, there = ("alice: web", "alice-2: web") if columns else ("alice     web", "alice-2   web")
    stage = Stage((shows("trying again", here), other.served.start), (shows(there), ctrl_c), columns=columns)
    ran = staged("watch", "-n", "shop", "--context", "alice,alice-2", stage=stage, errors_too=True)
    assert ran.code == Exit.INTERRUPTED


@pytest.mark.parametrize("columns", [0, 200])
def test_a_context_that_will_never_answer_does_not_end_the_view_of_the_others(
    kdm: Asked, web: DeploymentRef, contexts: Path, staged: Staged, columns: int
) -> None:
    with plain() as url:
        context_file(contexts, kdm.served, wrong=url)
        stage = Stage(
            (shows("does not speak TLS", "web", "3"), lambda: kdm.do(lambda cluster: cluster.scale(web, 8))),
            (shows("/8" if columns else " 8 "), ctrl_c),
            columns=columns,
        )
        ran = staged("watch", "-n", "shop", "--context", "alice,wrong", stage=stage, errors_too=True)
    assert ran.code == Exit.INTERRUPTED
    assert "wrong: 127.0.0.1:" in stage.shown
    assert "trying again" not in stage.shown


def test_a_view_of_which_no_context_will_answer_ends_with_their_code(kdm: Asked, contexts: Path, run: Command) -> None:
    with plain() as one, plain() as two:
        context_file(contexts, kdm.served, one=one, two=two)
        ran = run("get", "-w", "--context", "one,two")
    assert ran.code == Exit.OTHER
    assert sorted(line.split(":")[1] for line in ran.err.splitlines()) == [" context one", " context two"]


def test_rows_do_not_wait_for_a_context_that_says_nothing(
    kdm: Asked, contexts: Path, staged: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "HOLD_S", 0.0)
    with silent() as url:
        context_file(contexts, kdm.served, stuck=url)
        stage = Stage((shows("CONTEXT", "alice", "web"), close))
        assert staged("get", "-w", "-n", "shop", "--context", "alice,stuck", stage=stage, errors_too=True).code == 0
    assert "kdm:" not in stage.shown


def test_that_a_cluster_is_heard_again_is_said(kdm: Asked, staged: Staged) -> None:
    stage = Stage(
        (shows("web "), lambda: kdm.served.do(lambda: setattr(kdm.repository.faults, "stale", True))),
        (shows("out of date"), lambda: kdm.served.do(lambda: setattr(kdm.repository.faults, "stale", False))),
        (shows("up to date again\n"), ctrl_c),
    )
    assert staged("watch", "-n", "shop", stage=stage, errors_too=True).code == 15


@pytest.mark.parametrize("what", [[], ["web"], ["-w"]])
def test_ctrl_c_ends_it_though_a_context_does_not_answer(kdm: Asked, tmp_path: Path, what: list[str]) -> None:
    over, asked_for = threading.Event(), threading.Event()
    server = tls_server(tmp_path, kdm.served.credentials.server, until=over, asked=asked_for)
    with server as port:
        context_file(tmp_path / "contexts.toml", kdm.served, stuck=f"https://127.0.0.1:{port}")
        environment = {**os.environ, "KDM_CONFIG": str(tmp_path / "contexts.toml")}
        with subprocess.Popen(
            [*KDM, "get", *what, "-n", "shop", "--context", "alice,stuck"],
            env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it takes no lock
        ) as process:  # fmt: skip
            try:
                assert asked_for.wait(ENDS_S)
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=ENDS_S)
            finally:
                process.kill()
                over.set()
    assert (process.returncode, said) == (Exit.INTERRUPTED, "\nkdm: interrupted\n")


def test_where_no_context_answers_it_is_not_said_that_there_are_no_deployments(
    kdm: Asked, contexts: Path, run: Command
) -> None:
    with plain() as one, plain() as two:
        context_file(contexts, kdm.served, one=one, two=two)
        ran = run("get", "--context", "one,two")
    assert (ran.code, ran.out, "no Deployments" in ran.err) == (Exit.OTHER, "", False)


class TestNamespaces:
    """Each context has its own where none is named."""

    @pytest.fixture(autouse=True)
    def of_two(self, kdm: Asked, contexts: Path, run: Command) -> None:
        del run  # which writes another file
        kdm.create("night/web", 4)
        context_file(contexts, kdm.served, kdm.served)
        text = contexts.read_text()
        first, _, second = text.partition("[contexts.alice-2]\n")
        first = first.replace("[contexts.alice]\n", '[contexts.alice]\nnamespace = "shop"\n')
        contexts.write_text(f'{first}[contexts.alice-2]\nnamespace = "night"\n{second}')

    def test_a_list_says_which(self, run: Command) -> None:
        lines = run("get", "--context", "alice,alice-2", "-l", "").out.splitlines()
        assert lines[0].split()[:3] == ["CONTEXT", "NAMESPACE", "NAME"]
        assert {tuple(line.split()[:2]) for line in lines[1:]} == {("alice", "shop"), ("alice-2", "night")}

    def test_a_name_is_looked_for_there(self, run: Command) -> None:
        ran = run("get", "web", "--context", "alice,alice-2")
        assert (ran.code, ran.err) == (0, "")
        assert [line.split()[:4] for line in ran.out.splitlines()[1:]] == [
            ["alice", "shop", "web", "3"], ["alice-2", "night", "web", "4"]
        ]  # fmt: skip

    def test_a_view_follows_it_there(self, staged: Staged) -> None:
        stage = Stage((lambda shown: shown.count("web") == 2, close))
        ran = staged("get", "web", "-w", "--context", "alice,alice-2", stage=stage)
        assert sorted(line.split()[:4] for line in ran.out.splitlines()[1:]) == [
            ["alice", "shop", "web", "3"], ["alice-2", "night", "web", "4"]
        ]  # fmt: skip
