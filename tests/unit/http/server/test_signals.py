"""What signals do to the command `kdm`, from its first moment on, as process 1 of a container too."""

from __future__ import annotations

import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

import pytest

from unit.cli.test_main import DEADLINE_S, ENVIRONMENT, KDM, ROOT

SERVE: Final = ["serve", "--dev", "--port", "0", "--ops-port", "0", "--log-format", "json"]
HARMLESS: Final = [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]

EARLY: Final = """
import os, signal, sys, threading
sys.argv[1:] = {argv}
own = os.getpid()
if {pretending}:
    os.getpid = lambda: 1

class Watched:
    # Sends this process a signal as soon as kdm imports a certain module, or a while after.
    def find_spec(self, name, path=None, target=None):
        if name != {module!r}:
            return
        if {delay_s}:
            threading.Timer({delay_s}, os.kill, (own, {number})).start()
        else:
            os.kill(own, {number})

sys.meta_path.insert(0, Watched())
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so do its children
from kdm_cli.__main__ import main
sys.exit(main())
"""
MODULES: Final = ["kdm_cli.main", "kdm_cli.serve", "litestar", "kdm_http.server.serve"]
"""What is imported on the way to the first connection, from the first line of `main` to the event loop."""


def program(
    module: str, number: int, argv: list[str] = SERVE, *, delay_s: float = 0.0, first: bool = False
) -> list[str]:
    """Return a command that runs kdm and sends it a signal on its way.

    Args:
        module: What kdm is about to import when the signal is sent.
        number: The signal.
        argv: kdm's arguments.
        delay_s: How much later it is sent, in seconds.
        first: Whether kdm is process 1, of a namespace of its own; where the system does not let this user make one,
            kdm is made to believe it, and then has to end by itself all the same.
    """
    really = first and may_be_first()
    code = EARLY.format(argv=argv, module=module, number=int(number), delay_s=delay_s, pretending=first and not really)
    return [*(FIRST if really else []), sys.executable, "-c", code]


FIRST: Final = [
    "unshare",
    *([] if os.getuid() == 0 else ["--user", "--map-root-user"]),
    "--pid",
    "--fork",
    "--kill-child",
]


@functools.cache
def may_be_first() -> bool:
    try:
        return run([*FIRST, sys.executable, "-c", "import os; assert os.getpid() == 1"]).returncode == 0
    except FileNotFoundError:
        return False


def run(argv: list[str]) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(argv, capture_output=True, timeout=DEADLINE_S, check=False, cwd=ROOT, env=ENVIRONMENT)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_process_1(module: str, number: signal.Signals) -> None:
    """It has no default action, so a signal that nobody handles yet would be lost. The exit code is a shell's."""
    done = run(program(module, number, first=True))
    assert (done.returncode, done.stdout, done.stderr.count(b"Traceback")) == (128 + number, b"", 0), done.stderr


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_the_start_ends_any_other_process(module: str, number: signal.Signals) -> None:
    done = run(program(module, number))
    assert (done.returncode, done.stdout, done.stderr.count(b"Traceback")) == (-number, b"", 0), done.stderr


@pytest.mark.parametrize("first", [False, True], ids=["process", "process 1"])
@pytest.mark.parametrize("delay", range(4))
def test_sigterm_right_after_the_start_is_never_lost(first: bool, delay: int) -> None:
    """Whenever it comes: kdm ends by the signal, or gracefully with 0 once it has an event loop."""
    done = run(program("kdm_cli.main", signal.SIGTERM, delay_s=0.01 + 0.2 * delay, first=first))
    assert done.returncode in {0, 128 + signal.SIGTERM if first else -signal.SIGTERM}, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("number", HARMLESS)
def test_other_signals_during_the_start_do_not_keep_kdm_from_it(number: signal.Signals) -> None:
    for module in MODULES[:3]:
        done = run(program(module, number, ["serve", "--port", "many"]))
        assert (done.returncode, done.stderr.count(b"\n")) == (2, 1), done.stderr


class Served:
    """A kdm that serves, and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
        self.process = process
        self._log = log

    def until(self, event: str) -> list[dict[str, object]]:
        """Read the log up to an event."""
        events: list[dict[str, object]] = []
        for line in self._log:
            events.append(json.loads(line))
            if str(events[-1]["event"]).startswith(event):
                return events
        raise AssertionError(f"it ended with {self.process.wait()} instead of {event!r}: {events}")

    def raw_until(self, text: bytes) -> list[bytes]:
        """Read lines that are no events, up to one that has a text in it."""
        lines = []
        for line in self._log:
            lines.append(line)
            if text in line:
                return lines
        raise AssertionError(f"it ended with {self.process.wait()} instead of {text!r}: {lines}")


@contextmanager
def serving(*more: str) -> Iterator[Served]:
    with subprocess.Popen(
        [*KDM, *SERVE, *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT
    ) as process:
        assert process.stderr
        served = Served(process, process.stderr)
        try:
            served.until("kdm serves")
            yield served
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
class TestWhileItServes:
    """Each is a real process on the event loop that it is told to use."""

    def test_sighup_reads_certificates_and_policy_now(self, loop: str, tmp_path: Path) -> None:
        policy = tmp_path / "policy.toml"
        policy.write_text("version = 1\n")
        with serving("--loop", loop, "--policy-file", str(policy)) as kdm:
            policy.write_text("versio = 1\n")
            kdm.process.send_signal(signal.SIGHUP)
            wanted = {"reading certificates and policy again", "certificates reloaded"}
            wanted.add("policy refused, the old one stays in use")
            while wanted:  # the two are read side by side
                wanted.discard(str(kdm.until("")[-1]["event"]))
            policy.write_text("version = 1\n")
            kdm.process.send_signal(signal.SIGHUP)
            kdm.until("policy loaded")
            kdm.process.terminate()
            assert kdm.process.wait(DEADLINE_S) == 0

    def test_sigusr1_logs_what_every_thread_and_task_does(self, loop: str) -> None:
        with serving("--loop", loop) as kdm:
            kdm.process.send_signal(signal.SIGUSR1)
            events = kdm.until("tasks")
            threads = [each for each in events if each["event"] == "thread"]
            assert any(each["name"] == "MainThread" and "signals.py" in str(each["stack"]) for each in threads)
            kdm.process.terminate()
            shown = [events[-1], *kdm.until("stopped")]
            assert any("serve.py" in str(each.get("stack")) for each in shown)
            assert kdm.process.wait(DEADLINE_S) == 0

    def test_sigusr2_writes_every_thread_s_stack(self, loop: str) -> None:
        with serving("--loop", loop) as kdm:
            kdm.process.send_signal(signal.SIGUSR2)
            lines = kdm.raw_until(b"__main__.py")
            assert any(b"(most recent call first)" in line for line in lines)
            kdm.process.terminate()
            assert kdm.process.wait(DEADLINE_S) == 0

    def test_a_harmless_signal_at_the_very_end_changes_nothing(self, loop: str) -> None:
        with serving("--loop", loop) as kdm:
            kdm.process.terminate()
            kdm.until("stopped")
            while kdm.process.poll() is None:
                for number in HARMLESS:
                    kdm.process.send_signal(number)
            assert kdm.process.returncode == 0

    def test_no_flood_of_harmless_signals_keeps_it_from_serving_and_ending(self, loop: str) -> None:
        with serving("--loop", loop) as kdm:
            for number in HARMLESS * 20:
                kdm.process.send_signal(number)
            kdm.process.terminate()
            kdm.raw_until(b'"stopped"')
            assert kdm.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--repository", "kubernetes"], "no kubeconfig at"),
        (["--policy-file", "~/policy.toml"], "/policy.toml: No such file"),
        (["--tls-cert", "~/server.pem"], "/server.pem: No such file"),
    ],
)
def test_a_user_without_a_home_gets_one_line(argv: list[str], told: str) -> None:
    """A container's user may have any number, no entry in /etc/passwd and no HOME."""
    nobody = (
        "import os, pwd, sys\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        f"sys.argv[1:] = {['serve', '--dev', '--log-level', 'error', '--port', '0', '--ops-port', '0', *argv]}\n"
        "from kdm_cli.__main__ import main\n"
        "sys.exit(main())\n"
    )
    environment = {name: value for name, value in ENVIRONMENT.items() if name not in {"HOME", "KUBECONFIG"}}
    done = subprocess.run(
        [sys.executable, "-c", nobody],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        cwd=ROOT,
        env=environment,
    )
    assert done.returncode in {1, 2}
    assert told in done.stderr
    assert (done.stderr.startswith("kdm: "), done.stderr.count("\n")) == (True, 1), done.stderr
