"""The command `kdm`, as a user runs it: a process of its own, its exit code and what it prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[3]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("KDM_")}
KDM = [sys.executable, "-m", "kdm_cli"]
NOWHERE = ["--tls-cert", "/nowhere", "--tls-key", "/nowhere", "--tls-client-ca", "/nowhere"]
DEADLINE_S = 60.0


def kdm(*argv: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*KDM, *argv],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
        cwd=ROOT,
        env={**ENVIRONMENT, **variables},
    )


@pytest.fixture
def development() -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """`kdm serve --dev` and what it printed until it served."""
    command = [*KDM, "serve", "--dev", "--port", "0", "--ops-port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=ENVIRONMENT
    ) as process:
        assert process.stdout
        printed: list[str] = []
        for line in process.stdout:
            printed.append(line.rstrip())
            if "Ctrl-C" in line:
                break
        yield process, printed
        if process.poll() is None:
            process.kill()


def run_curl(line: str) -> httpx.Response:
    """Do what a printed curl line says, so that the test needs no curl."""
    words = iter(shlex.split(line)[1:])
    options: dict[str, str] = {}
    url = ""
    for word in words:
        if word.startswith("-"):
            options[word] = next(words)
        else:
            url = word
    context: ssl.SSLContext | bool = True
    if "--cacert" in options:
        context = ssl.create_default_context(cafile=ROOT / options["--cacert"])
        context.load_cert_chain(ROOT / options["--cert"], ROOT / options["--key"])
    name, _, value = options.get("-H", "Accept: */*").partition(": ")
    return httpx.request(
        options.get("-X", "GET"), url, content=options.get("-d"), headers={name: value}, verify=context, trust_env=False
    )


def test_each_printed_curl_line_works_and_sigterm_ends_with_0(
    development: tuple[subprocess.Popen[str], list[str]],
) -> None:
    process, printed = development
    curls = [line for line in printed if line.lstrip().startswith("curl ")]
    answers = {line: run_curl(line) for line in curls}
    assert {line: answer.text for line, answer in answers.items() if answer.status_code != 200} == {}
    assert sum("-X POST" in line for line in curls) == 1
    assert sum("-X PUT" in line for line in curls) == 2
    assert sum(line.endswith("/health") for line in curls) == 2
    assert sum(line.endswith("/deployments") for line in curls) == 2
    process.send_signal(signal.SIGTERM)
    assert process.wait(DEADLINE_S) == 0


def test_a_port_in_use_is_one_clear_line_and_1() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = kdm("serve", "--dev", "--log-level", "error", "--port", port, "--ops-port", "0")
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert done.stderr.count("\n") == 1


def test_with_json_logs_every_line_is_json_to_the_end() -> None:
    """What is told at the start, and why it could not go on, are no lines for people then."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = kdm("serve", "--dev", "--log-format", "json", "--port", port, "--ops-port", "0")
    events = [json.loads(line) for line in done.stderr.splitlines()]
    assert f"127.0.0.1:{port}" in events[-1]["event"]

    command = [*KDM, "serve", "--dev", "--log-format", "json", "--port", "0", "--ops-port", "0"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=ENVIRONMENT
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if "kdm serves https://" in json.loads(line)["event"]:
                break
        process.send_signal(signal.SIGTERM)
        printed, logged = process.communicate(timeout=DEADLINE_S)
    assert printed == b""
    assert all(json.loads(line) for line in logged.splitlines())


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        ([*NOWHERE, "--policy-file", "allow-all"], 1, "/nowhere"),
        (["--dev", "--repository", "kubernetes", "--kubeconfig", "/nowhere"], 1, "/nowhere"),
        ([], 2, "--tls-cert"),
        (NOWHERE, 2, "the word allow-all"),
        (["--dev", "--audit-file", "/nowhere/audit.log"], 1, "the audit trail on /nowhere/audit.log"),
        (["--dev", "--policy-file", "/nowhere/policy.toml"], 1, "/nowhere/policy.toml: No such file"),
        (["--port", "many"], 2, "--port"),
    ],
)
def test_what_cannot_start_says_why_on_one_line(argv: list[str], code: int, told: str) -> None:
    done = kdm("serve", "--log-level", "error", "--ops-port", "0", *argv)
    assert done.returncode == code
    assert told in done.stderr
    assert done.stderr.startswith("kdm: ")
    assert done.stderr.count("\n") == 1


def test_an_unknown_variable_is_2() -> None:
    done = kdm("serve", KDM_POTR="1")
    assert (done.returncode, done.stderr) == (2, "kdm: unknown setting KDM_POTR; did you mean KDM_PORT?\n")


def test_development_certificates_are_refused_without_dev() -> None:
    certs = ROOT / "certs"
    done = kdm(
        "serve",
        "--log-level=error",
        f"--tls-cert={certs / 'dev-server.pem'}",
        f"--tls-key={certs / 'dev-server-key.pem'}",
        f"--tls-client-ca={certs / 'dev-ca.pem'}",
        "--policy-file=allow-all",
    )
    assert done.returncode == 1
    assert "--dev" in done.stderr


def test_version_and_help() -> None:
    assert kdm("--version").stdout.startswith("kdm ")
    told = kdm("--help").stdout
    assert all(command in told for command in ("get", "scale", "serve", "certs", "policy"))


def test_without_the_extra_cli_the_commands_that_run_kdm_work_and_the_others_say_what_to_install() -> None:
    code = "import sys; sys.modules['click'] = sys.modules['rich_click'] = None; from kdm_cli.main import main; "

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        called = f"{code}sys.exit(main({list(argv)!r}))"
        return subprocess.run(
            [sys.executable, "-c", called], capture_output=True, text=True, check=False, timeout=DEADLINE_S
        )

    assert run("policy", "check", "/nowhere").stderr.startswith("kdm policy: /nowhere: No such file")
    bare = run("get", "web")
    assert bare.returncode == 2
    assert bare.stderr.startswith("kdm: kdm get needs kdm's extra cli: pip install 'kdm-service[cli]'")
    told = run("--help")
    assert "serve the API over mutual TLS" in told.stdout
    assert told.stderr.startswith("kdm: kdm --help needs kdm's extra cli")


def test_make_run_prints_commands_that_work_with_the_context_that_it_writes(tmp_path: Path) -> None:
    variables = {**ENVIRONMENT, "KDM_CONFIG": str(tmp_path / "contexts.toml")}
    command = [*KDM, "serve", "--dev", "--dev-context", "dev", "--port", "0", "--ops-port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT, env=variables
    ) as process:
        assert process.stdout
        printed = list(
            iter(process.stdout.readline, "The development certificates are no secret. Press Ctrl-C to stop.\n")
        )
        lines = [line.split() for line in printed if line.startswith("  kdm ")]
        for _, *words in [each for each in lines if "watch" not in each]:
            done = subprocess.run(
                [*KDM, *words], capture_output=True, text=True, env=variables, check=False, timeout=DEADLINE_S
            )
            assert (done.returncode, done.stderr) == (0, ""), words
        process.terminate()
    assert len(lines) == 4
    assert printed.index("The command:\n") < printed.index("API v2:\n")


def test_a_current_directory_that_was_removed_is_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    variables = {**ENVIRONMENT, "KDM_CONFIG": str(tmp_path / "contexts.toml")}
    command = [*KDM, "serve", "--dev", "--dev-context", "dev", "--port", "0", "--ops-port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=variables
    ) as process:
        assert process.stdout
        list(iter(process.stdout.readline, "The development certificates are no secret. Press Ctrl-C to stop.\n"))
        process.terminate()
    assert process.returncode == 0


def test_without_docstrings_it_has_the_same_settings() -> None:
    """Python leaves them out with -OO, which some images set."""

    def options(help_text: str) -> set[str]:
        return set(re.findall(r"--[\w-]+", help_text))

    bare = kdm("serve", "--help", PYTHONOPTIMIZE="2")
    assert bare.returncode == 0, bare.stderr
    assert options(bare.stdout) == options(kdm("serve", "--help").stdout)
