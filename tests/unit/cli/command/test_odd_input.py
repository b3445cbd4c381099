"""Odd and hostile input, and answers that are not kdm's: one line and an exit code, no traceback, and an end."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kdm_cli.contexts import Context, Contexts
from kdm_cli.exits import CommandError, Exit
from kdm_cli.news import Desk
from kdm_cli.output import formats
from kdm_cli.pki.pair import Pair
from kdm_core import DeploymentRef
from unit.adapters.remote.test_client import Talker
from unit.cli.command.asking import Asked, Command, context_file, seat
from unit.cli.command.terminal import heed_ctrl_c
from unit.http.credentials import Leaf

HOSTILE = {"message": "a\x1b[31m\x9b2J\x7f\u202ec\u2066d"}


def test_a_deployment_that_is_named_twice_is_waited_for_once(kdm: Asked, run: Command) -> None:
    kdm.create("default/web", 3)
    ran = run("wait", "web", "default/web")
    assert (ran.code, ran.out) == (Exit.DONE, "default/web: done: 3 of 3 available\n")


def test_a_deployment_that_is_named_twice_is_parked_once(kdm: Asked, run: Command) -> None:
    web = kdm.create("default/web", 3)
    assert run("park", "web", "default/web", "-y").code == Exit.DONE
    assert kdm.desired(web) == 0


@pytest.mark.parametrize("names", [",", " ", " , "])
def test_a_choice_of_no_context_is_one_line(run: Command, monkeypatch: pytest.MonkeyPatch, names: str) -> None:
    ran = run("get", "--context", names)
    assert (ran.code, ran.line) == (Exit.USAGE, f"{names!r} names no context: expected NAME")
    monkeypatch.setenv("KDM_CONTEXT", names)
    assert run("whoami").code == Exit.USAGE


@pytest.mark.parametrize(
    "arguments", [["get", "-l", "\udcff"], ["restore", "--park-id", "\udcff"], ["get", "--state", "\udcff"]]
)
def test_what_is_no_text_is_one_line(run: Command, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.code, ran.line) == (Exit.USAGE, "an argument or a variable is no text in UTF-8")


@pytest.mark.parametrize("host", ["a b", "..", "a" * 70 + ".x", "a..b"])
def test_a_host_that_cannot_exist_is_one_line(run: Command, host: str) -> None:
    ran = run("get", "--server", f"https://{host}:8443")
    assert ran.code == Exit.USAGE
    assert "host name" in ran.line


def test_a_password_in_a_url_is_not_repeated(run: Command) -> None:
    for password in ("s3cret", "s3c@ret"):
        ran = run("get", "--server", f"https://alice:{password}@kdm.example:8443")
        assert ran.code == Exit.USAGE
        assert "s3c" not in ran.err


def test_the_home_of_nobody_is_one_line(bare: Command, contexts: Path) -> None:
    ran = bare("context", "add", "x", "--server", "https://kdm", "--cert", "~nobody-here/a", "--key", "k")
    assert (ran.code, "no such home" in ran.line) == (Exit.USAGE, True)
    contexts.write_text('[contexts.x]\nserver = "https://kdm"\ncert = "~nobody-here/a"\nkey = "k"\n')
    ran = bare("get", "--context", "x")
    assert (ran.code, "no such home" in ran.line) == (Exit.USAGE, True)


def test_a_path_that_a_file_of_contexts_cannot_hold_is_one_line(bare: Command, contexts: Path, tmp_path: Path) -> None:
    odd = tmp_path / "\udcff"
    odd.write_text("")
    ran = bare("context", "add", "x", "--server", "https://kdm", "--cert", str(odd), "--key", str(odd))
    assert (ran.code, "UTF-8" in ran.line) == (Exit.USAGE, True)
    assert not contexts.exists()


def test_a_file_of_contexts_that_nests_without_end_is_one_line(bare: Command, contexts: Path) -> None:
    contexts.write_text("current = " + "[" * 100_000)
    ran = bare("get")
    assert (ran.code, "not TOML" in ran.line) == (Exit.USAGE, True)


def test_a_context_without_a_ca_is_listed_without_one(bare: Command, contexts: Path) -> None:
    Contexts(contexts).add(Context("x", "https://kdm", None, Path("/c.pem"), Path("/k.pem")))
    assert bare("context", "list", "-o", "json").json["contexts"][0]["ca"] is None


def test_a_context_that_another_process_removes_does_not_become_current(contexts: Path) -> None:
    ours = Contexts(contexts)
    ours.add(Context("x", "https://kdm", None, Path("/c.pem"), Path("/k.pem")))
    Contexts(contexts).remove("x")
    with pytest.raises(CommandError, match="no context 'x'"):
        ours.use("x")


def test_since_before_all_time_shows_what_there_is(kdm: Asked, run: Command) -> None:
    kdm.create("default/old", 3)
    run("scale", "old=4")
    ran = run("history", "old", "--since", "999999999h")
    assert (ran.code, len(ran.out.splitlines())) == (Exit.DONE, 2)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_what_could_control_a_terminal_is_escaped_in_values_too(form: str) -> None:
    text = formats.dumped(HOSTILE, form)
    assert text.replace("\n", "").isprintable()
    assert yaml.safe_load(text) == HOSTILE
    line = formats.stream_line("added", HOSTILE, None, "json")
    assert line.isprintable()
    assert json.loads(line)["deployment"] == HOSTILE


def test_json_for_a_terminal_without_the_letters_is_still_json(kdm: Asked, tmp_path: Path) -> None:
    kdm.create("default/web", 3)
    context_file(tmp_path / "contexts.toml", kdm.served)
    environment = {**os.environ, "KDM_CONFIG": str(tmp_path / "contexts.toml"), "PYTHONIOENCODING": "ascii"}
    code = "import sys; from kdm_cli.output.formats import as_json; print(as_json({'a': '\\u00e9\\U0001f600'}))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True, timeout=60)
    assert json.loads(ran.stdout) == {"a": "é\U0001f600"}


def answering(directory: Path, pair: Pair, answer: bytes) -> Talker:
    """Read each connection's first request to its end, and answer it in one way."""
    path = directory / "answering.pem"
    leaf = Leaf.of(pair)
    path.write_bytes(leaf.key + leaf.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)

    def treat(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as tls, tls.makefile("rwb") as stream:
            length = 0
            while line := stream.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    length = int(line.partition(b":")[2])
            stream.read(length)
            stream.write(answer)

    return Talker(treat)


ANSWERS = {
    "html": (b"text/html", b"<html>Log in</html>"),
    "empty": (b"application/json", b"{}"),
    "list": (b"application/json", b"[]"),
    "owners": (b"application/json", b'{"code":"owner-conflict","owners":5}'),
    "event": (b"text/event-stream", b"event: present\ndata: {nope\n\n"),
    "event-of-nothing": (b"text/event-stream", b"event: present\ndata: {}\n\n"),
    "half": (b"application/json", b'{"name":"web","replicas":{}}'),
}


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["get"], Exit.OTHER), (["get", "web"], Exit.OTHER), (["whoami"], Exit.OTHER),
        (["wait", "web"], Exit.OTHER), (["get", "-w"], Exit.OTHER), (["scale", "web=5"], Exit.AMBIGUOUS),
    ],
)  # fmt: skip
def test_an_answer_that_is_not_kdms_is_one_line_and_an_end(
    kdm: Asked, run: Command, tmp_path: Path, answer: str, arguments: list[str], code: Exit
) -> None:
    kind, body = ANSWERS[answer]
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n%b" % (kind, len(body), body)
    with answering(tmp_path, kdm.served.credentials.server, whole) as port:
        ran = run(*arguments, "--server", f"https://127.0.0.1:{port}")
    said = ran.out if arguments[0] == "wait" else ran.line
    assert (ran.code, "not kdm's" in said) == (code, True), ran


@pytest.mark.parametrize("status", [302, 403, 404])
def test_whoever_answers_in_the_place_of_kdm_may_have_passed_a_write_on(
    kdm: Asked, run: Command, tmp_path: Path, status: int
) -> None:
    """Whatever the status: what a gateway's answer says of the write behind it, if anything, is not known."""
    whole = b"HTTP/1.1 %d No\r\ncontent-length: 0\r\n\r\n" % status
    with answering(tmp_path, kdm.served.credentials.server, whole) as port:
        server = f"https://127.0.0.1:{port}"
        wrote, read = run("scale", "web=5", "--server", server), run("get", "web", "--server", server)
    assert (wrote.code, f"not kdm's ({status})" in wrote.line) == (Exit.AMBIGUOUS, True), wrote
    assert (read.code, f"not kdm's ({status})" in read.line) == (Exit.OTHER, True), read


def test_a_thread_that_fails_ends_the_command_instead_of_leaving_it_waiting() -> None:
    def work() -> None:
        raise LookupError("x")

    with Desk() as desk:
        desk.start(work)
        with pytest.raises(LookupError):
            desk.take(30)


def test_ctrl_c_while_the_command_is_imported_is_no_traceback(tmp_path: Path) -> None:
    """The signal comes when the first module of the command is asked for."""
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'kdm_cli.commands': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv = ['kdm', 'get']\n"
        "from kdm_cli.__main__ import main\n"
        "sys.exit(main())\n"
    )
    environment = {**os.environ, "KDM_CONFIG": str(tmp_path / "none.toml")}
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False, timeout=60,
        preexec_fn=heed_ctrl_c,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (-signal.SIGINT, "")


def test_what_is_shown_for_zero_is_the_object_that_is_written_to(
    kdm: Asked, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes and recreates it, with the same count, while the question is on the screen."""
    web = kdm.create("default/web", 3)

    def agreed() -> str:
        kdm.do(lambda cluster: cluster.delete(web))
        kdm.create("default/web", 3)
        return "y"

    seat(monkeypatch, agreed)
    assert run("scale", "web=0").code == Exit.PRECONDITION
    assert kdm.desired(DeploymentRef("default", "web")) == 3


def test_parking_asked_about_does_what_was_shown_or_nothing(
    kdm: Asked, run: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody scales it while the question is on the screen."""
    web = kdm.create("default/busy", 3)
    counts = iter([9, 9])

    def agreed() -> str:
        kdm.do(lambda cluster: cluster.scale(web, next(counts)))
        return "y"

    seat(monkeypatch, agreed)
    ran = run("park", "busy")
    assert (ran.code, kdm.desired(web)) == (Exit.PRECONDITION, 9), ran
    ran = run("park", "busy")
    assert (ran.code, kdm.desired(web)) == (Exit.DONE, 0), ran
    assert "default/busy: 9 -> 0" in ran.out


def test_a_batch_is_not_undone_on_another_object_of_the_same_name(kdm: Asked, run: Command) -> None:
    first, second = kdm.create("default/one", 3), kdm.create("default/two", 3)
    batch = run("scale", "one=5", "two=5", "-y").out.splitlines()[-1].removeprefix("batch ")
    kdm.do(lambda cluster: cluster.delete(second))
    kdm.create("default/two", 5)
    ran = run("undo", "--batch", batch, "-y")
    assert ran.code != Exit.DONE
    assert [kdm.desired(each) for each in (first, second)] == [5, 5]


def test_a_watch_ends_where_a_gateway_answers_in_the_place_of_kdm(kdm: Asked, run: Command, tmp_path: Path) -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: https://login.example/\r\ncontent-length: 0\r\n\r\n"
    with answering(tmp_path, kdm.served.credentials.server, moved) as port:
        ran = run("get", "-w", "--server", f"https://127.0.0.1:{port}")
    assert (ran.code, "not kdm's (302)" in ran.line) == (Exit.OTHER, True), ran


@pytest.mark.parametrize("arguments", [(), ("context",)])
def test_without_a_command_the_help_is_shown_as_it_is(bare: Command, arguments: tuple[str, ...]) -> None:
    ran = bare(*arguments)
    assert (ran.code, ran.out) == (Exit.USAGE, "")
    assert ran.err.strip() == bare(*arguments, "--help").out.strip()


def test_a_key_in_the_place_of_its_file_is_not_repeated(run: Command) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
    for arguments in (
        ["get", "--key", key],
        ["context", "add", "x", "--server", "https://kdm", "--cert", key, "--key=k"],
    ):
        ran = run(*arguments)
        assert (ran.code, "[a private key]" in ran.line, "c2Vj" in ran.err) == (Exit.USAGE, True, False)


@pytest.mark.parametrize("server", ["alice:s3cret@kdm:8443", "https:/alice:s3cret@kdm:8443"])
def test_a_password_in_what_is_no_url_is_not_repeated(run: Command, server: str) -> None:
    ran = run("get", "--server", server)
    assert (ran.code, "s3c" in ran.err) == (Exit.USAGE, False)


@pytest.mark.parametrize("flag", ["--context", "--namespace", "--server", "--ca", "--cert", "--key"])
def test_an_option_that_an_unset_variable_left_empty_is_one_line(run: Command, flag: str) -> None:
    """It would be another place, or another kdm."""
    ran = run("scale", "web=5", f"{flag}=")
    assert (ran.code, f"{flag} is empty" in ran.line) == (Exit.USAGE, True)


def test_an_empty_park_id_is_not_every_batch(run: Command) -> None:
    ran = run("restore", "--all", "--park-id", "", "-y")
    assert (ran.code, "--park-id is empty" in ran.line) == (Exit.USAGE, True)


def test_a_directory_that_nobody_may_look_into_is_named(bare: Command, tmp_path: Path) -> None:
    ran = bare("context", "add", "x", "--from", str(tmp_path / ("a" * 300)))
    assert ran.code == Exit.OTHER
    assert "File name too long" in ran.line
    assert "output" not in ran.line


def test_a_file_of_contexts_may_begin_with_a_mark(bare: Command, contexts: Path) -> None:
    contexts.write_text('\ufeff[contexts.x]\nserver = "https://kdm"\ncert = "c"\nkey = "k"\n', encoding="utf-8")
    assert bare("context", "list", "-o", "name").out == "x\n"


def test_a_text_that_is_a_number_in_another_yaml_is_quoted() -> None:
    """As Go, kubectl and yq read YAML, 25921e05 is a number, and y is true."""
    texts = ["25921e05", "1e3", "08", "0o17", "1.0e10", "+1", ".5", "1.", "y", "N"]
    assert formats.as_yaml(texts) == "\n".join(f"- '{each}'" for each in texts)
    values = [1, 2.5, True, None, "web", "v1.2", "1.2.3", "2fa"]
    assert formats.as_yaml(values) == "- 1\n- 2.5\n- true\n- null\n- web\n- v1.2\n- 1.2.3\n- 2fa"
