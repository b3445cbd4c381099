"""`kdm watch` and `kdm get --watch`: the view on a terminal, lines in a pipe, and how both end."""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from kdm_cli.exits import Exit
from kdm_core import DeploymentRef
from unit.cli.command.asking import Asked, Command, context_file
from unit.cli.command.stage import Stage, Staged, close, ctrl_c, shows


@pytest.fixture(autouse=True)
def web(kdm: Asked) -> DeploymentRef:
    kdm.create("shop/api", 2)
    return kdm.create("shop/web", 3, held=True)


def rows(shown: str) -> list[list[str]]:
    return [line.split() for line in shown.splitlines()]


class TestLines:
    @pytest.mark.parametrize("verb", [["watch"], ["get", "-w"]])
    def test_each_change_is_a_line_until_nobody_reads(
        self, kdm: Asked, web: DeploymentRef, staged: Staged, verb: list[str]
    ) -> None:
        stage = Stage(
            (lambda shown: len(shown.splitlines()) == 3, lambda: kdm.do(lambda cluster: cluster.scale(web, 5))),
            (lambda shown: rows(shown)[-1][:4] == ["web", "5", "3", "3"], lambda: kdm.do(lambda c: c.delete(web))),
            (lambda shown: rows(shown)[-1][-1] == "deleted", close),
        )
        ran = staged(*verb, "-n", "shop", stage=stage)
        assert (ran.code, ran.err) == (0, "")
        assert rows(ran.out)[:3] == [
            ["NAME", "DESIRED", "READY", "AVAILABLE", "STATE"],
            ["api", "2", "2", "2", "settled"],
            ["web", "3", "3", "3", "settled"],
        ]

    def test_only_what_is_named_is_shown(self, kdm: Asked, web: DeploymentRef, staged: Staged) -> None:
        def change_both() -> None:
            kdm.do(lambda cluster: cluster.scale(DeploymentRef("shop", "api"), 4))
            kdm.do(lambda cluster: cluster.scale(web, 6))

        stage = Stage((shows("settled\n"), change_both), (lambda shown: rows(shown)[-1][:2] == ["web", "6"], ctrl_c))
        ran = staged("watch", "shop/web", stage=stage)
        assert (ran.code, ran.err) == (Exit.INTERRUPTED, "\nkdm: interrupted\n")
        assert {row[0] for row in rows(ran.out)} == {"NAME", "web"}

    def test_as_json_each_is_an_event_on_a_line(self, kdm: Asked, web: DeploymentRef, staged: Staged) -> None:
        stage = Stage(
            (lambda shown: shown.count("\n") == 2, lambda: kdm.do(lambda cluster: cluster.scale(web, 5))),
            (lambda shown: shown.count("\n") == 3, close),
        )
        ran = staged("get", "-w", "-o", "json", "-n", "shop", stage=stage)
        assert (ran.code, ran.err) == (0, "")
        events = [json.loads(line) for line in ran.out.splitlines()]
        assert [(each["event"], each["deployment"]["name"]) for each in events] == [
            ("present", "api"), ("present", "web"), ("modified", "web")
        ]  # fmt: skip
        assert events[-1]["deployment"]["replicas"]["desired"] == 5

    def test_as_names_they_can_be_given_to_another_command(self, staged: Staged) -> None:
        stage = Stage((lambda shown: shown.count("\n") == 2, close))
        assert staged("get", "-w", "-o", "name", "-n", "shop", stage=stage).out == "shop/api\nshop/web\n"

    def test_a_reader_that_leaves_ends_it_though_nothing_changes(
        self, run: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        reading, writing = os.pipe()
        read: list[bytes] = []

        def read_one() -> None:
            read.append(os.read(reading, 4096))
            os.close(reading)

        reader = threading.Thread(target=read_one)
        reader.start()
        with os.fdopen(writing, "w") as pipe, monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", pipe)
            ran = run("watch", "-n", "shop")
        reader.join()
        assert (ran.code, ran.err) == (0, "")
        assert read[0].startswith(b"NAME ")

    def test_a_server_that_stops_is_said_once_and_so_is_that_it_is_back(
        self, kdm: Asked, web: DeploymentRef, staged: Staged
    ) -> None:
        stage = Stage(
            (shows("web "), kdm.served.stop),
            (shows("; trying again\n"), kdm.served.start),
            (shows("connected again\n"), lambda: kdm.do(lambda cluster: cluster.scale(web, 8))),
            (lambda shown: rows(shown)[-1][:2] == ["web", "8"], ctrl_c),
        )
        ran = staged("watch", "-n", "shop", stage=stage, errors_too=True)
        assert ran.code == Exit.INTERRUPTED
        assert (ran.out.count("trying again"), ran.out.count("connected again")) == (1, 1)

    def test_of_several_contexts_each_line_says_which(self, kdm: Asked, contexts: Path, staged: Staged) -> None:
        context_file(contexts, kdm.served)
        stage = Stage((lambda shown: shown.count("web") == 2, close))
        ran = staged("watch", "-n", "shop", "--context", "alice,bob", stage=stage)
        assert ran.code == 0
        assert sorted(row[:2] for row in rows(ran.out)[1:]) == [
            ["alice", "api"], ["alice", "web"], ["bob", "api"], ["bob", "web"]
        ]  # fmt: skip

    def test_names_and_a_selection_exclude_each_other(self, run: Command) -> None:
        ran = run("watch", "shop/web", "-A")
        assert (ran.code, "exclude each other" in ran.line) == (Exit.USAGE, True)


class TestView:
    def test_it_follows_until_ctrl_c_and_leaves_the_last_picture(
        self, kdm: Asked, web: DeploymentRef, staged: Staged
    ) -> None:
        stage = Stage(
            (shows("2 Deployments", "3/3"), lambda: kdm.do(lambda cluster: cluster.scale(web, 6))),
            (shows("3/6"), lambda: kdm.do(lambda cluster: cluster.let_go(web))),
            (shows("6/6"), lambda: kdm.do(lambda cluster: cluster.delete(DeploymentRef("shop", "api")))),
            (shows("1 Deployment;"), ctrl_c),
            columns=100,
        )
        ran = staged("watch", "-n", "shop", stage=stage)
        assert (ran.code, ran.err) == (Exit.INTERRUPTED, "\nkdm: interrupted\n")
        title, row, foot = stage.seen[-1]
        assert title.split() == ["NAME", "AVAILABLE", "STATE", "NOTE"]
        assert row.split() == ["web", "6/6", "━" * 20, "settled"]
        assert foot == "1 Deployment; Ctrl-C ends the view"
        assert stage.screen
        assert not stage.screen.cursor.hidden

    def test_names_of_two_namespaces_are_whole(self, kdm: Asked, staged: Staged) -> None:
        kdm.create("other/web", 1)
        stage = Stage((shows("2 Deployments"), ctrl_c), columns=100)
        staged("watch", "shop/web", "other/web", stage=stage)
        assert [line.split()[0] for line in stage.seen[-1][1:3]] == ["other/web", "shop/web"]

    def test_a_narrow_terminal_has_no_bars_and_cuts_names(self, kdm: Asked, staged: Staged) -> None:
        ref = kdm.create("shop/a-name-that-is-longer-than-half", 12)
        stage = Stage((shows("3 Deployments"), ctrl_c), columns=40)
        staged("watch", "-n", "shop", stage=stage)
        kdm.do(lambda cluster: cluster.delete(ref))
        name, *rest = stage.seen[-1][1].split()
        assert (name[-1], rest) == ("…", ["12/12", "settled"])

    def test_of_more_than_there_is_room_for_it_shows_what_is_in_motion(self, kdm: Asked, staged: Staged) -> None:
        for number in range(9):
            kdm.create(f"many/web-{number}", 1)
        last = kdm.create("many/zoo", 1, held=True)
        kdm.do(lambda cluster: cluster.scale(last, 2))
        stage = Stage((shows("10 Deployments"), ctrl_c), columns=100, rows=8)
        staged("watch", "-n", "many", stage=stage)
        assert [line.split()[0] for line in stage.seen[-1][1:6]] == ["web-0", "web-1", "web-2", "web-3", "zoo"]
        assert stage.seen[-1][6] == "and 5 more, all calm"

    def test_a_server_that_stops_is_in_the_foot_until_it_is_back(self, kdm: Asked, staged: Staged) -> None:
        stage = Stage(
            (shows("2 Deployments"), kdm.served.stop),
            (shows("; trying again; 2 Deployments"), kdm.served.start),
            (lambda shown: "trying again" not in shown and "2 Deployments" in shown, ctrl_c),
            columns=200,
        )
        assert staged("watch", "-n", "shop", stage=stage).code == Exit.INTERRUPTED
