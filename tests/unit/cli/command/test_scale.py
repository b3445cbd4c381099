"""`kdm scale` of one Deployment: what is written, what is asked before, what is told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from kdm_adapters.remote.client import Answer, Client
from kdm_adapters.remote.connection import Connection
from kdm_adapters.remote.transport_errors import AnswerLost, Unreachable
from kdm_cli.exits import Exit
from kdm_core import DeploymentRef
from unit.cli.command.asking import Asked, Command, seat


@pytest.fixture
def web(kdm: Asked) -> DeploymentRef:
    return kdm.create("default/web", 3, tier="web")


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have somebody at a terminal who gives these answers; what was asked is not recorded."""
    answers: list[str] = []
    seat(monkeypatch, lambda: answers.pop(0))
    return answers


@pytest.mark.parametrize(
    ("word", "line", "count"),
    [
        ("web=5", "default/web: 3 -> 5", 5),
        ("web=+2", "default/web: 3 -> 5", 5),
        ("web=-2", "default/web: 3 -> 1", 1),
        ("default/web=3", "default/web: already 3", 3),
        ("web=+0", "default/web: already 3", 3),
    ],
)
def test_a_count_is_set_or_changed(
    kdm: Asked, run: Command, web: DeploymentRef, word: str, line: str, count: int
) -> None:
    ran = run("scale", word)
    assert (ran.code, ran.out, ran.err) == (0, f"{line}\n", "")
    assert kdm.desired(web) == count


def test_a_dry_run_changes_nothing(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    for word in ("web=5", "web=+2", "web=0", "web=-3"):
        ran = run("scale", word, "--dry-run")
        assert ran.code == 0
        assert ran.out.endswith("(dry run: nothing was changed)\n")
    assert kdm.desired(web) == 3


@pytest.mark.parametrize("word", ["web=0", "web=-3"])
class TestZero:
    def test_without_a_terminal_it_needs_yes(self, kdm: Asked, run: Command, web: DeploymentRef, word: str) -> None:
        ran = run("scale", word)
        assert ran.code == Exit.USAGE
        *plan, line = ran.err.splitlines()
        assert [row.split() for row in plan] == [
            ["NAME", "FROM", "TO", "OWNER", "NOTE"],
            ["default/web", "3", "0", "-", "-"],
        ]
        assert line == "kdm: --yes is needed where there is no terminal to ask on; nothing was changed"
        assert kdm.desired(web) == 3

    def test_with_yes_nobody_is_asked(self, kdm: Asked, run: Command, web: DeploymentRef, word: str) -> None:
        assert run("scale", word, "-y").out == "default/web: 3 -> 0\n"
        assert kdm.desired(web) == 0

    def test_whoever_agrees_gets_it(
        self, kdm: Asked, run: Command, web: DeploymentRef, word: str, answer: list[str]
    ) -> None:
        answer.append("y")
        ran = run("scale", word)
        assert (ran.code, ran.out) == (0, "default/web: 3 -> 0\n")
        assert kdm.desired(web) == 0

    @pytest.mark.parametrize("said", ["", "n", "no", "yep"])
    def test_whoever_does_not_agree_does_not(
        self, kdm: Asked, run: Command, web: DeploymentRef, word: str, said: str, answer: list[str]
    ) -> None:
        answer.append(said)
        ran = run("scale", word)
        assert ran.code == Exit.OTHER
        assert ran.err.endswith("kdm: nothing was changed\n")
        assert kdm.desired(web) == 3

    def test_what_was_not_shown_is_not_done(
        self, kdm: Asked, run: Command, web: DeploymentRef, word: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Somebody else scales while the question stands: nobody agreed to go from there to zero."""

        def meanwhile() -> str:
            kdm.do(lambda cluster: cluster.scale(web, 9))
            return "y"

        seat(monkeypatch, meanwhile)
        ran = run("scale", word)
        assert ran.code == Exit.PRECONDITION
        assert "it has 9 replicas, not 3" in ran.err
        assert kdm.desired(web) == 9


def test_a_relative_change_never_reaches_zero_unasked(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    """Even where somebody else scales down between the look and the write."""
    original = type(kdm.cluster).scale
    looked = threading.Event()

    def scale_down() -> None:
        if not looked.is_set():
            looked.set()
            kdm.do(lambda cluster: original(cluster, web, 1))

    from kdm_cli.client.api import Kdm  # noqa: PLC0415

    adjust = Kdm.adjust

    def adjust_later(self: Kdm, target: object, body: object, *, dry_run: bool = False) -> object:
        if not dry_run:
            scale_down()
        return adjust(self, target, body, dry_run=dry_run)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kdm, "adjust", adjust_later)
        ran = run("scale", "web=-1")
    assert ran.code == Exit.REFUSED
    assert "from 1 to" in ran.line
    assert kdm.desired(web) == 1


def test_a_reason_comes_from_the_flag_or_the_environment(
    kdm: Asked, run: Command, web: DeploymentRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = run("scale", "web=5", "--reason", "x" * 257)
    assert ran.code == Exit.USAGE
    assert "reason" in ran.line
    monkeypatch.setenv("KDM_REASON", "two\nlines")
    assert run("scale", "web=5").code == Exit.USAGE
    assert run("scale", "web=5", "--reason", "sale").code == 0
    assert kdm.desired(web) == 5


def test_what_it_must_be_before(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    ran = run("scale", "web=5", "--current-replicas", "4")
    assert ran.code == Exit.PRECONDITION
    assert ran.line.startswith("Deployment 'default/web' is not as expected: it has 3 replicas, not 4 (request id ")
    assert run("scale", "web=5", "--current-replicas", "3").code == 0
    assert kdm.desired(web) == 5


def test_without_arguments_it_prints_what_can_be_given_back(kdm: Asked, run: Command, web: DeploymentRef) -> None:
    kdm.create("shop/api", 2, tier="web")
    kdm.create("shop/db", 1)
    assert run("scale").out == "default/web=3\n"
    listed = run("scale", "-A", "-l", "tier=web").out
    assert listed == "default/web=3\nshop/api=2\n"
    assert run("scale", "-n", "shop", "-o", "name").out == "shop/api\nshop/db\n"
    kdm.do(lambda cluster: cluster.scale(web, 8))
    assert run("scale", listed.split()[0]).out == "default/web: 8 -> 3\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["web"], "expected web=5, web=+2 or web=-1"),
        (["web=5", "-l", "a=b"], "exclude each other"),
        (["web=5", "--replicas", "3"], "exclude each other"),
        (["-l", "a=b", "--replicas", "3", "--delta", "1"], "--replicas and --delta exclude each other"),
        (["--replicas", "3"], "--replicas goes with -l; for names: NAME=COUNT"),
        (["-A", "--factor", "2"], "--factor goes with -l"),
        (["-l", "a=b", "--factor", "-2"], "expected a number from 0 to 1000"),
        (["web=5", "web=6"], "default/web is named twice"),
        (["web=5", "api=6", "--current-replicas", "3"], "goes with one NAME=COUNT"),
        (["web=5", "--wait=soon"], "expected a duration such as 90s"),
        (["web=5", "--for", "ever"], "'ever' is not one of"),
        (["web=5", "--for", "ready"], "--for says how far --wait waits; add --wait"),
        (["web=2000000000"], "must be an integer from 0 to 1000"),
    ],
)
def test_a_wrong_order_is_one_line_and_changes_nothing(
    kdm: Asked, run: Command, web: DeploymentRef, arguments: list[str], told: str
) -> None:
    ran = run("scale", *arguments)
    assert ran.code == Exit.USAGE
    assert told in ran.line
    assert kdm.desired(web) == 3


@pytest.mark.usefixtures("web")
def test_wait_may_stand_before_a_name(run: Command) -> None:
    ran = run("scale", "--wait", "web=4")
    assert ran.out == "default/web: 3 -> 4\ndefault/web: done: 4 of 4 available\n"
    assert run("scale", "--wait=1m", "web=5").code == 0


@pytest.mark.usefixtures("web")
def test_json_has_what_came_of_waiting_and_nothing_else_is_printed(run: Command) -> None:
    written = run("scale", "web=4", "--wait", "-o", "json").json
    assert written["replicas"] == {"previous": 3, "desired": 4}
    assert written["rollout"]["outcome"] == "done"
    assert run("scale", "web=5", "-o", "name").out == "default/web\n"


def refusing_after(lose: list[int], make: Any) -> Any:
    """Let no connection come about once an answer was lost."""

    def made(self: Connection, *arguments: Any) -> None:
        if not lose[0]:
            raise Unreachable("nothing listens there")
        make(self, *arguments)

    return made


class TestAskedAgain:
    """A write is sent again only where that does nothing twice."""

    @pytest.mark.usefixtures("web")
    def test_after_written_false_it_is_tried_again(self, kdm: Asked, run: Command) -> None:
        kdm.served.do(lambda: setattr(kdm.repository.faults, "overloaded", True))
        timer = threading.Timer(0.3, lambda: kdm.served.do(lambda: setattr(kdm.repository.faults, "overloaded", False)))
        timer.start()
        ran = run("scale", "web=5")
        timer.join()
        assert ran.out == "default/web: 3 -> 5\n"

    @pytest.fixture
    def lose(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Lose the answers to so many writes: kdm has done them, and the connection breaks."""
        left = [1]
        read = Connection.read

        def lost(self: Connection, method: str, response: Any) -> Answer:
            if method != "GET" and left[0]:
                left[0] -= 1
                raise AnswerLost("the connection broke; the write may have happened: read before trying again")
            return read(self, method, response)

        monkeypatch.setattr(Connection, "read", lost)
        return left

    @pytest.mark.parametrize("word", ["web=+2", "web=5"])
    @pytest.mark.usefixtures("lose")
    def test_a_lost_answer_is_asked_for_again_and_nothing_is_done_twice(
        self, kdm: Asked, run: Command, web: DeploymentRef, word: str
    ) -> None:
        ran = run("scale", word)
        assert (ran.code, ran.out) == (0, "default/web: 3 -> 5\n")
        assert kdm.desired(web) == 5

    @pytest.mark.usefixtures("lose")
    def test_a_relative_change_is_not_sent_to_another_process_which_does_not_know_its_key(
        self, kdm: Asked, run: Command, web: DeploymentRef, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        processes = iter(["one", "one", *["another"] * 9])
        monkeypatch.setattr("kdm_adapters.remote.client.process_of", lambda _: next(processes))
        ran = run("scale", "web=+2")
        assert ran.code == Exit.AMBIGUOUS
        assert "the write may have happened" in ran.line
        assert kdm.desired(web) == 5

    def test_a_kdm_that_is_gone_after_a_lost_answer_leaves_it_open(
        self, kdm: Asked, run: Command, web: DeploymentRef, lose: list[int], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not "nothing was written": what the attempt before did is not known."""
        defaults = Client.__init__.__kwdefaults__
        assert defaults is not None
        monkeypatch.setitem(defaults, "patience_s", 0.5)
        monkeypatch.setattr(Connection, "__init__", refusing_after(lose, Connection.__init__))
        ran = run("scale", "web=5")
        assert ran.code == Exit.AMBIGUOUS
        assert kdm.desired(web) == 5

    def test_an_answer_that_leaves_it_open_is_ambiguous_and_adds_nothing_twice(
        self, kdm: Asked, run: Command, web: DeploymentRef
    ) -> None:
        with kdm.fault("answer_lost"):
            ran = run("scale", "web=+2")
        assert ran.code == Exit.AMBIGUOUS
        assert kdm.desired(web) == 5
