"""One kdm for a module's tests, and the command with a context for it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kdm_cli.main import main
from unit.cli.command.asking import Asked, Command, Ran, asked, context_file
from unit.cli.command.stage import Stage, Staged


@pytest.fixture(scope="module")
def kdm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asked(tmp_path_factory.mktemp("kdm")) as running:
        yield running


@pytest.fixture
def contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file of contexts, which does not exist yet; no variable of the machine's counts."""
    for name in ("KDM_CONTEXT", "KDM_REASON", "NO_COLOR", "HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "contexts.toml"
    monkeypatch.setenv("KDM_CONFIG", str(path))
    return path


@pytest.fixture
def bare(contexts: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command without any context."""
    del contexts

    def run(*arguments: str) -> Ran:
        capsys.readouterr()
        code = main(arguments)
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture
def run(kdm: Asked, contexts: Path, bare: Command) -> Command:
    """The command, with contexts for the kdm of this module: alice may do everything, bob may read."""
    context_file(contexts, kdm.served)
    return bare


@pytest.fixture
def staged(run: Command, monkeypatch: pytest.MonkeyPatch) -> Staged:
    """The command on a stage: a terminal, or what a pipe shows."""

    def play(*arguments: str, stage: Stage, errors_too: bool = False) -> Ran:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", stage)
            if errors_too:
                patch.setattr(sys, "stderr", stage)
            if stage.screen:
                patch.setenv("TERM", "xterm-256color")
                patch.setenv("COLUMNS", str(stage.screen.columns))
                patch.setenv("LINES", str(stage.screen.lines))
            ran = run(*arguments)
        assert stage.is_over, stage.shown
        return Ran(ran.code, stage.shown, ran.err)

    return play
