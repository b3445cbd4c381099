"""What a shell is offered after TAB: from the server within 200 ms, or nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from click.shell_completion import BashComplete

from kdm_cli.commands.shells import Bash
from kdm_cli.commands.tree import kdm as tree
from unit.cli.command.asking import Asked, Command

Complete = Callable[[str], list[str]]


@pytest.fixture(scope="module", autouse=True)
def _deployments(kdm: Asked) -> None:
    for name in ("default/web", "default/worker", "shop/api", "shop/web"):
        kdm.create(name, 3)


@pytest.fixture
def complete(run: Command) -> Complete:
    """Return what is offered for the last word of a line, as the shell's function asks for it."""
    del run

    def offered(line: str) -> list[str]:
        *words, last = line.split(" ")
        asked = BashComplete(tree, {}, "kdm", "_KDM_COMPLETE")
        return [each.value for each in asked.get_completions(words[1:], last)]

    return offered


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("kdm sc", ["scale"]),
        ("kdm get w", ["web", "worker"]),
        ("kdm get web w", ["worker"]),
        ("kdm get -n shop ", ["api", "web"]),
        ("kdm get shop/", ["shop/api", "shop/web"]),
        ("kdm get -n ", ["default", "shop"]),
        ("kdm get -n s", ["shop"]),
        ("kdm get --context ", ["alice", "bob"]),
        ("kdm get --context alice,", ["alice,bob"]),
        ("kdm get --state st", ["stalled"]),
        ("kdm get --state stalled,b", ["stalled,blocked"]),
        ("kdm scale w", ["web=3", "worker=3"]),
        ("kdm scale shop/a", ["shop/api=3"]),
        ("kdm wait wor", ["worker"]),
        ("kdm context use a", ["alice"]),
        ("kdm completion z", ["zsh"]),
        ("kdm get --context nowhere ", []),
    ],
)
def test_what_is_offered(complete: Complete, line: str, offered: list[str]) -> None:
    assert complete(line) == offered


def test_a_server_that_is_slow_or_away_offers_nothing_soon(
    kdm: Asked, complete: Complete, contexts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measure is what it waits for, not what the machine takes for it."""
    waited: list[float | None] = []
    join = Thread.join

    def recorded(thread: Thread, timeout: float | None = None) -> None:
        waited.append(timeout)
        join(thread, timeout)

    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}"
        contexts.write_text(contexts.read_text().replace(kdm.served.url, url))
        monkeypatch.setattr(Thread, "join", recorded)
        assert complete("kdm get ") == []
    assert waited == [0.2]


def test_without_a_file_of_contexts_nothing_is_offered(bare: Command, contexts: Path) -> None:
    del bare
    asked = BashComplete(tree, {}, "kdm", "_KDM_COMPLETE")
    assert asked.get_completions(["get"], "") == []
    contexts.write_text("not TOML")
    assert asked.get_completions(["get", "--context"], "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_are_given_their_own_scripts(run: Command, shell: str) -> None:
    ran = run("completion", shell)
    assert ran.code == 0
    assert f"_KDM_COMPLETE={shell}_complete" in ran.out


@pytest.mark.parametrize(
    ("words", "last", "offered"),
    [
        (["get", "--context", "alice", "@"], "pr", ["@prod"]),
        (["get", "--context", "alice"], "@", ["@prod"]),
        (["get", "--context", "="], "alice", ["alice", "alice@prod"]),
        (["get", "--context"], "alice@pr", ["alice@prod"]),  # in quotes, or where the user's bash does not break there
        (["get", "--server", "https", ":", "//x", ":", "8443", "--context"], "bo", ["bob"]),
    ],
)
def test_bash_completes_the_last_of_the_words_that_it_makes_of_one(
    run: Command, contexts: Path, words: list[str], last: str, offered: list[str]
) -> None:
    del run
    contexts.write_text(contexts.read_text().replace("[contexts.bob]", '[contexts."alice@prod"]\n[contexts.bob]'))
    found = Bash(tree, {}, "kdm", "_KDM_COMPLETE").get_completions(words, last)
    assert [each.value for each in found] == offered
