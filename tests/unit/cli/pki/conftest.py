"""``kdm certs`` as a user runs it, in this process."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest
from attrs import frozen

from kdm_cli import certs as certs_command


@frozen
class Ran:
    """How a command ended."""

    code: int
    out: str
    error: str


Certs = Callable[..., Ran]


@pytest.fixture
def certs(capsys: pytest.CaptureFixture[str]) -> Certs:
    """Run ``kdm certs`` with some arguments."""

    def run(*arguments: object) -> Ran:
        parser = argparse.ArgumentParser(prog="kdm")
        certs_command.register(parser.add_subparsers())
        try:
            chosen = parser.parse_args(["certs", *map(str, arguments)])
            code = chosen.handler(chosen)
        except SystemExit as exc:
            code = int(exc.code or 0)
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def pki(certs: Certs, tmp_path: Path) -> Path:
    """A directory that ``kdm certs init`` made."""
    path = tmp_path / "pki"
    assert certs("init", path, "--san", "kdm.example.com").code == 0
    return path
