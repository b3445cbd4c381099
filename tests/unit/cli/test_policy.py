"""The command line ``kdm policy``."""

from __future__ import annotations

import argparse
import io
import shlex
from pathlib import Path

import pytest

from kdm_cli import policy as policy_command

REPOSITORY = Path(__file__).parents[3]
POLICY = """
version = 1

[[grant]]
name = "shop"
groups = ["kdm:shop"]
verbs = ["read", "scale"]
namespaces = ["shop"]
labels = { tier = "web" }
replicas = { max = 5 }

[[grant]]
anyone = true
verbs = ["read"]
namespaces = ["public"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    return path


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser("kdm")
    policy_command.register(parser.add_subparsers(required=True))
    args = parser.parse_args(["policy", *map(str, arguments)])
    code: int = args.handler(args)
    return code


def test_check_accepts_a_valid_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", file) == 0
    assert capsys.readouterr() == (f"{file}: valid: 2 grants\n", "")


def test_check_says_that_an_empty_policy_denies_everything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("version = 1")
    assert run("check", path) == 0
    assert capsys.readouterr().out == f"{path}: valid: no grants, so everything is denied\n"


def test_check_reads_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(POLICY.encode())))
    assert run("check", "-") == 0
    assert capsys.readouterr().out == "-: valid: 2 grants\n"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (POLICY.replace("namespaces", "namespace").encode(), "grant[0].namespace: unknown key; did you mean"),
        (b"version = 1\n#\xff", "not UTF-8: invalid start byte at byte 13"),
        (b"version", "not TOML: Expected '=' after a key"),
        (None, "No such file or directory"),
    ],
)
def test_a_file_that_is_no_policy_gets_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, complaint: str
) -> None:
    """What is wrong is told in one line on stderr that begins with the file's name, and the exit code is 2."""
    path = tmp_path / "policy.toml"
    if content is not None:
        path.write_bytes(content)
    for command in (
        ["check", path],
        ["explain", path, "--user", "a", "--verb", "read", "--deployment", "shop/web"],
    ):
        assert run(*command) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"kdm policy: {path}: {complaint}")
        assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("question", "code", "answer"),
    [
        ("--user a --verb read --deployment public/web", 0, "allowed\n  by grant[1]\n"),
        (
            "--user a --group x --group kdm:shop --verb scale --deployment shop/web --label tier=web --replicas 5",
            0,
            "allowed\n  by grant[0] 'shop'\n",
        ),
        (
            "--user a --group kdm:shop --verb scale --deployment shop/web --label tier=web --replicas 0",
            1,
            "denied\n  not by grant[0] 'shop': 0 replicas are not within 1 to 5\n",
        ),
        (
            "--user a --group kdm:shop --verb scale --deployment shop/web --label tier=db",
            1,
            "denied\n  not by grant[0] 'shop': label 'tier' is 'db', not 'web'\n",
        ),
        (
            "--user a --verb scale --deployment public/web --label tier=web",
            1,
            "denied\n  not by grant[1]: it grants read, not scale\n",
        ),
        (
            "--user a --verb scale --deployment shop/web",
            1,
            (
                "denied\n"
                "  not by grant[0] 'shop': it is for group 'kdm:shop'; label 'tier' is missing, not 'web'\n"
                "  not by grant[1]: it grants read, not scale; namespace 'shop' is not among public\n"
            ),
        ),
    ],
)
def test_explain_answers_with_the_grants_that_matter(
    file: Path, capsys: pytest.CaptureFixture[str], question: str, code: int, answer: str
) -> None:
    assert run("explain", file, *shlex.split(question)) == code
    assert capsys.readouterr() == (answer, "")


def test_explain_of_an_empty_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("version = 1")
    assert run("explain", path, "--user", "a", "--verb", "read", "--deployment", "shop/web") == 1
    assert capsys.readouterr().out == "denied\n  the policy has no grants, so everything is denied\n"


@pytest.mark.parametrize(
    ("question", "complaint"),
    [
        ("--verb read --deployment web", "--deployment 'web': must be NAMESPACE/NAME"),
        ("--verb read --deployment shop/Web", "invalid name 'Web'"),
        ("--verb read --deployment shop/a/b", "invalid name 'a/b'"),
        ("--verb read --deployment shop/web --label tier", "--label 'tier': must be KEY=VALUE"),
        ("--verb read --deployment shop/web --replicas 3", "--replicas has no meaning without --verb scale"),
        ("--verb scale --deployment shop/web --replicas -1", "invalid replica count -1"),
    ],
)
def test_a_question_without_sense_gets_one_line(
    file: Path, capsys: pytest.CaptureFixture[str], question: str, complaint: str
) -> None:
    assert run("explain", file, "--user", "a", *shlex.split(question)) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"kdm policy: {complaint}")
    assert err.count("\n") == 1


def test_an_unknown_verb_exits_like_any_bad_argument(file: Path) -> None:
    with pytest.raises(SystemExit) as caught:
        run("explain", file, "--user", "a", "--verb", "connect", "--deployment", "shop/web")
    assert caught.value.code == policy_command.BAD_INPUT


@pytest.mark.parametrize(
    ("group", "question", "code"),
    [
        ("kdm:admins", "--verb read", 0),
        ("kdm:admins", "--verb scale --replicas 0", 0),
        ("kdm:admins", "--verb scale --replicas 1000", 0),
        ("kdm:viewers", "--verb read", 0),
        ("kdm:viewers", "--verb scale", 1),
        ("kdm:others", "--verb read", 1),
    ],
)
def test_the_development_policy(group: str, question: str, code: int) -> None:
    """It lets its admins do all, its viewers read, and nobody else anything."""
    file = REPOSITORY / "certs" / "dev-policy.toml"
    arguments = ["--user", "dev", "--group", group, "--deployment", "shop/web", *shlex.split(question)]
    assert run("explain", file, *arguments) == code


@pytest.mark.parametrize(
    ("question", "code", "answer"),
    [
        ("--verb scale --replicas 5", 0, "allowed\n  by grant[0] 'on call', with a reason\n"),
        ("--verb scale --without-reason", 1, "denied\n  not by grant[0] 'on call': it requires a reason\n"),
        ("--verb read", 0, "allowed\n  by grant[0] 'on call'\n"),
    ],
)
def test_explain_says_where_a_reason_is_required(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], question: str, code: int, answer: str
) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(
        'version = 1\n[[grant]]\nname = "on call"\nusers = ["a"]\nverbs = ["read", "scale"]\nnamespaces = ["*"]\n'
        "require_reason = true\n"
    )
    assert run("explain", path, "--user", "a", "--deployment", "shop/web", *shlex.split(question)) == code
    assert capsys.readouterr() == (answer, "")


def test_a_read_needs_no_reason(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    question = ("--user", "a", "--verb", "read", "--deployment", "public/web", "--without-reason")
    assert run("explain", file, *question) == 2
    assert capsys.readouterr().err == "kdm policy: --without-reason has no meaning without --verb scale\n"
