"""`kdm policy` as a process with an odd terminal, full or closed streams: one line, and the documented exit codes."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

POLICY: Final = """version = 1
[[grant]]
name = "Bjørn's café"
users = ["bjørn"]
verbs = ["read"]
namespaces = ["shop"]
"""
ALLOWED, DENIED, BAD_INPUT = 0, 1, 2


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY, encoding="utf-8")
    return path


def kdm(arguments: str, redirection: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", "-c", f"exec {shlex.quote(sys.executable)} -m kdm_cli {arguments} {redirection}"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
        check=False,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
    )


def explain(file: Path, user: str) -> str:
    return f"policy explain {shlex.quote(str(file))} --user {shlex.quote(user)} --verb read --deployment shop/web"


@pytest.mark.parametrize(("user", "code"), [("bjørn", ALLOWED), ("eve", DENIED)])
def test_an_ascii_terminal_gets_the_answer_and_the_right_code(file: Path, user: str, code: int) -> None:
    done = kdm(explain(file, user), PYTHONIOENCODING="ascii", PYTHONUTF8="1")
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout.startswith(("allowed\n", "denied\n"))
    assert "caf\\xe9" in done.stdout


@pytest.mark.parametrize("arguments", ["policy check {}", "policy explain {} --user x --verb read --deployment a/b"])
@pytest.mark.parametrize("user", ["bjørn", "eve"])
def test_an_answer_that_cannot_be_written_is_neither_allowed_nor_denied(file: Path, user: str, arguments: str) -> None:
    done = kdm(arguments.format(shlex.quote(str(file))).replace("--user x", f"--user {user}"), ">/dev/full")
    assert (done.returncode, done.stderr) == (BAD_INPUT, "kdm policy: standard output: No space left on device\n")


@pytest.mark.parametrize(("redirection", "code"), [("<&-", BAD_INPUT), (">&-", ALLOWED), ("<&- >&- 2>&-", BAD_INPUT)])
def test_a_closed_stream_is_an_empty_one(file: Path, redirection: str, code: int) -> None:
    arguments = "policy check -" if "<&-" in redirection else f"policy check {file}"
    done = kdm(arguments, redirection)
    assert done.returncode == code
    assert done.stderr in {"", "kdm policy: -: version: missing; this kdm reads 'version = 1'\n"}


def test_a_reader_that_left_is_told_in_one_line(file: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = kdm_into(writer, explain(file, "eve"))
    os.close(writer)
    assert (done.returncode, done.stderr) == (BAD_INPUT, "kdm policy: standard output: Broken pipe\n")


def kdm_into(writer: int, arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kdm_cli", *shlex.split(arguments)],
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_name_that_is_no_unicode_is_answered(file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "kdm_cli", *shlex.split(explain(file, "x"))[:-4], "--user", b"\xff",
         "--verb", "read", "--deployment", "shop/web"],
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (DENIED, b"")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [("/dev/zero", "larger than 4194304 bytes"), (".", "Is a directory"), ("/no/such", "No such file or directory")],
)
def test_what_is_no_policy_file_is_bad_input(path: str, complaint: str) -> None:
    done = kdm(f"policy check {path}")
    assert (done.returncode, done.stdout, done.stderr) == (BAD_INPUT, "", f"kdm policy: {path}: {complaint}\n")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"\xef\xbb\xbf" + POLICY.encode(), "valid: 1 grant"),
        (POLICY.replace("\n", "\r\n").encode(), "valid: 1 grant"),
        (POLICY.rstrip("\n").encode(), "valid: 1 grant"),
    ],
    ids=["byte order mark", "CRLF", "no last newline"],
)
def test_what_editors_make_of_a_file_is_read_all_the_same(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "policy.toml").write_bytes(content)
    done = kdm(f"policy check {tmp_path}/policy.toml")
    assert (done.returncode, done.stdout, done.stderr) == (ALLOWED, f"{tmp_path}/policy.toml: {told}\n", "")


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n", b"# nothing\n"])
def test_an_empty_file_is_bad_input(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "policy.toml").write_bytes(content)
    done = kdm(f"policy check {tmp_path}/policy.toml")
    complaint = f"kdm policy: {tmp_path}/policy.toml: version: missing; this kdm reads 'version = 1'\n"
    assert (done.returncode, done.stdout, done.stderr) == (BAD_INPUT, "", complaint)


def test_two_files_are_bad_usage(file: Path) -> None:
    done = kdm(f"policy check {file} {file}")
    assert (done.returncode, done.stdout) == (BAD_INPUT, "")
    assert done.stderr.endswith(f"unrecognized arguments: {file}\n")
