"""The command as a process: pipes that close, Ctrl-C and SIGTERM in each state, terminals of two widths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from kdm_core import DeploymentRef
from unit.cli.command.asking import Asked, SlowCluster, context_file
from unit.cli.command.terminal import Terminal, heed_ctrl_c

KDM = [sys.executable, "-m", "kdm_cli"]
DEADLINE_S = 60

Run = Callable[..., Terminal]


@pytest.fixture(autouse=True)
def web(kdm: Asked) -> DeploymentRef:
    kdm.create("shop/api", 2)
    return kdm.create("shop/web", 3, held=True)


@pytest.fixture
def environment(kdm: Asked, tmp_path: Path) -> dict[str, str]:
    context_file(tmp_path / "contexts.toml", kdm.served)
    return {"KDM_CONFIG": str(tmp_path / "contexts.toml")}


@pytest.fixture
def on_terminal(environment: dict[str, str]) -> Iterator[Run]:
    opened: list[Terminal] = []

    def run(*arguments: str, columns: int = 80, rows: int = 24, **variables: str) -> Terminal:
        terminal = Terminal(arguments, {**environment, **variables}, columns=columns, rows=rows)
        opened.append(terminal.__enter__())
        return terminal

    yield run
    for each in opened:
        each.__exit__(None, None, None)


def in_shell(line: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a line of bash, in which ``kdm`` is the command."""
    code = f'kdm() {{ {KDM[0]} -m kdm_cli "$@"; }}\nset -o pipefail\n{line}'
    return subprocess.run(
        ["bash", "-c", code], env={**os.environ, **environment}, capture_output=True, text=True, check=False,
        timeout=DEADLINE_S,
    )  # fmt: skip


class TestPipes:
    def test_a_pipe_that_closes_ends_a_watch_quietly(self, environment: dict[str, str]) -> None:
        """At once, though nothing changes: it does not wait for the next line to find out."""
        ran = in_shell("kdm get -A -w | head -n 1", environment)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.split() == ["NAMESPACE", "NAME", "DESIRED", "READY", "AVAILABLE", "STATE"]

    def test_a_pipe_that_is_closed_already_is_no_error(self, environment: dict[str, str]) -> None:
        ran = in_shell("kdm get -A | true; kdm get -A -o json | head -c 1", environment)
        assert (ran.returncode, ran.stderr, ran.stdout) == (0, "", "{")

    def test_a_full_disk_is_one_line(self, environment: dict[str, str]) -> None:
        ran = in_shell("kdm get -A > /dev/full", environment)
        assert (ran.returncode, ran.stderr) == (1, "kdm: cannot write the output: No space left on device\n")

    def test_a_watch_in_a_pipe_is_plain_lines(
        self, kdm: Asked, web: DeploymentRef, environment: dict[str, str]
    ) -> None:
        for verb in (["get", "-w"], ["watch"]):
            process = subprocess.Popen(
                [*KDM, *verb, "-n", "shop"], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
                preexec_fn=heed_ctrl_c,  # noqa: PLW1509 - it takes no lock
            )  # fmt: skip
            assert process.stdout
            with process:
                lines = [process.stdout.readline() for _ in range(3)]
                count = 4 if verb == ["watch"] else 5
                kdm.do(partial(SlowCluster.scale, ref=web, replicas=count))
                lines.append(process.stdout.readline())
                process.send_signal(signal.SIGINT)
            assert [line.split()[:2] for line in lines] == [
                ["NAME", "DESIRED"], ["api", "2"], ["web", "3" if count == 5 else "5"], ["web", str(count)]
            ]  # fmt: skip
            assert process.returncode == 15


class TestCtrlC:
    def test_while_it_shows(self, on_terminal: Run) -> None:
        terminal = on_terminal("watch", "-n", "shop")
        terminal.until(lambda text: "2 Deployments" in text)
        terminal.press("\x03")
        assert terminal.ended() == 15
        assert terminal.lines[-1].endswith("kdm: interrupted")
        assert terminal.is_as_before()

    def test_while_it_waits_for_pods_it_says_that_the_change_goes_on(
        self, kdm: Asked, web: DeploymentRef, on_terminal: Run
    ) -> None:
        terminal = on_terminal("scale", "shop/web=5", "--wait")
        terminal.until(lambda text: "3/5" in text)
        terminal.press("\x03")
        assert terminal.ended() == 15
        assert "the change itself goes on. To wait again: kdm wait shop/web" in " ".join(terminal.lines)
        assert kdm.desired(web) == 5
        assert terminal.is_as_before()

    def test_while_it_asks_nothing_is_changed(self, kdm: Asked, web: DeploymentRef, on_terminal: Run) -> None:
        terminal = on_terminal("scale", "shop/web=0")
        terminal.until(lambda text: "Change shop/web? [y/N]" in text)
        terminal.press("\x03")
        assert terminal.ended() == 1
        assert terminal.lines[-1] == "kdm: nothing was changed"
        assert kdm.desired(web) == 3
        assert terminal.is_as_before()

    def test_a_job_in_the_background_leaves_it_to_the_one_in_front(
        self, kdm: Asked, web: DeploymentRef, environment: dict[str, str]
    ) -> None:
        """The shell has such a job ignore SIGINT, and kdm goes on ignoring it; SIGTERM ends it as ever."""
        process = subprocess.Popen(
            [*KDM, "watch", "-n", "shop"], stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
            preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_IGN),  # noqa: PLW1509 - it takes no lock
        )  # fmt: skip
        assert process.stdout
        with process:
            for _ in range(3):
                process.stdout.readline()
            process.send_signal(signal.SIGINT)
            kdm.do(partial(SlowCluster.scale, ref=web, replicas=7))
            assert process.stdout.readline().split()[:2] == ["web", "7"]
            process.send_signal(signal.SIGTERM)
        assert process.returncode == 15

    def test_what_was_typed_before_the_question_does_not_answer_it(
        self, kdm: Asked, web: DeploymentRef, on_terminal: Run
    ) -> None:
        terminal = on_terminal("scale", "shop/web=0")
        terminal.press("y\r")
        terminal.until(lambda text: "[y/N]" in text)
        terminal.press("n\r")
        assert terminal.ended() == 1
        assert kdm.desired(web) == 3

    def test_sigterm_leaves_the_terminal_as_clean(self, on_terminal: Run) -> None:
        terminal = on_terminal("watch", "-n", "shop")
        terminal.until(lambda text: "2 Deployments" in text)
        terminal.send(signal.SIGTERM)
        assert terminal.ended() == 15
        assert terminal.is_as_before()


class TestView:
    @pytest.mark.parametrize("columns", [80, 132])
    def test_a_row_has_a_bar_of_available_over_desired_and_follows(
        self, kdm: Asked, web: DeploymentRef, on_terminal: Run, columns: int
    ) -> None:
        terminal = on_terminal("watch", "-n", "shop", columns=columns)
        text = terminal.until(lambda text: "2 Deployments" in text)
        assert all(len(line) <= columns for line in text.split("\n"))
        assert "3/3" in text
        kdm.do(lambda cluster: cluster.scale(web, 6))
        terminal.until(lambda text: "3/6" in text)
        kdm.do(lambda cluster: cluster.let_go(web))
        terminal.until(lambda text: "6/6" in text)

    def test_it_asks_and_does_what_is_agreed_to(self, kdm: Asked, web: DeploymentRef, on_terminal: Run) -> None:
        terminal = on_terminal("scale", "shop/web=0")
        terminal.until(lambda text: "Change shop/web? [y/N]" in text)
        terminal.press("y\r")
        assert terminal.ended() == 0
        assert terminal.lines[-1] == "shop/web: 3 -> 0"
        assert kdm.desired(web) == 0

    def test_a_narrow_terminal_keeps_counts_and_states_whole(self, kdm: Asked, on_terminal: Run) -> None:
        """Bars go first, then the ends of names."""
        kdm.create("shop/a-name-that-is-longer-than-half", 12)
        terminal = on_terminal("watch", "-n", "shop", columns=40)
        terminal.until(lambda text: "3 Deployments" in text)
        (row,) = [line for line in terminal.lines if line.startswith("a-name-that")]
        assert row.split()[1:] == ["12/12", "settled"]
        terminal.press("\x03")
        terminal.ended()
        kdm.do(lambda cluster: cluster.delete(DeploymentRef("shop", "a-name-that-is-longer-than-half")))

    def test_no_color_is_obeyed(self, on_terminal: Run) -> None:
        for variables, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)):
            terminal = on_terminal("get", "-n", "shop", **variables)
            assert terminal.ended() == 0
            assert (b"\x1b[32m" in terminal.raw) is coloured
            assert "settled" in terminal.lines[1]

    def test_more_rows_than_the_terminal_has_are_counted(self, kdm: Asked, on_terminal: Run) -> None:
        for number in range(30):
            kdm.create(f"many/web-{number:02}", 1)
        terminal = on_terminal("watch", "-n", "many", rows=12)
        terminal.until(lambda text: "and 21 more, all calm" in text and "30 Deployments" in text)


class TestServerThatGoesAway:
    def test_a_wait_and_a_view_outlive_it(self, kdm: Asked, web: DeploymentRef, on_terminal: Run) -> None:
        waiting = on_terminal("scale", "shop/web=5", "--wait", columns=132)
        waiting.until(lambda text: "3/5" in text)
        view = on_terminal("watch", "-n", "shop", columns=132)
        view.until(lambda text: "3/5" in text)
        kdm.served.stop()
        view.until(lambda text: "trying again" in text)
        kdm.served.start()
        view.until(lambda text: "trying again" not in text and "3/5" in text)
        kdm.do(lambda cluster: cluster.let_go(web))
        view.until(lambda text: "5/5" in text)
        assert waiting.ended() == 0
        assert "done" in "\n".join(waiting.lines)


class TestWhatCannotBeShown:
    def test_a_reader_that_leaves_changes_no_exit_code(
        self, kdm: Asked, web: DeploymentRef, environment: dict[str, str]
    ) -> None:
        """Else a step of CI would be green because nobody reads what it says."""
        ran = in_shell("kdm scale shop/web=4 --wait=1ms | true", environment)
        assert (ran.returncode, ran.stderr, kdm.desired(web)) == (124, "", 4)
        assert in_shell("kdm wait shop/web --timeout 1ms | true", environment).returncode == 124
        assert in_shell("kdm get shop/web shop/nowhere | true", environment).returncode == 14

    def test_a_full_disk_below_standard_error_changes_no_exit_code(self, environment: dict[str, str]) -> None:
        assert in_shell("kdm get shop/nowhere 2> /dev/full", environment).returncode == 3

    @pytest.mark.parametrize("arguments", ["--help", "--version", "get --help"])
    def test_help_that_cannot_be_written_is_one_line(self, environment: dict[str, str], arguments: str) -> None:
        ran = in_shell(f"kdm {arguments} > /dev/full", environment)
        assert (ran.returncode, ran.stderr) == (1, "kdm: cannot write the output: No space left on device\n")
        assert in_shell(f"kdm {arguments} | true", environment).returncode == 0

    def test_a_view_hides_no_cursor_that_ctrl_z_would_leave_hidden(self, on_terminal: Run) -> None:
        terminal = on_terminal("watch", "-n", "shop")
        terminal.until(lambda text: "2 Deployments" in text)
        assert not terminal.screen.cursor.hidden
