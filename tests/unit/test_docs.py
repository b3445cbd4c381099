"""What the security documents show is what happens: their commands are run, their policies and paths are real."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from kdm_cli import main as cli
from kdm_core import parse_policy

REPOSITORY = Path(__file__).parents[2]
SECURITY = REPOSITORY / "docs" / "security.md"
DOCUMENTS = [SECURITY, REPOSITORY / "SECURITY.md"]

_CHANGING = [
    (r"\b[0-9a-f]{32,64}\b", "<hex>"),  # serial numbers and fingerprints
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>"),
    (r"\b\d+ days left", "<n> days left"),
]


def blocks(document: Path) -> list[tuple[str, str]]:
    """Return a document's code blocks: language and content, in order."""
    return re.findall(r"^```(\w+)\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def same_on_every_run(output: str) -> str:
    for pattern, stand_in in _CHANGING:
        output = re.sub(pattern, stand_in, output)
    return output


def test_the_commands_print_what_the_guide_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In order and in one directory, where each policy shown is ``policy.toml`` for the commands that follow it."""
    monkeypatch.chdir(tmp_path)
    ran = []
    for language, content in blocks(SECURITY):
        if language == "toml":
            Path("policy.toml").write_text(content)
        if language != "console":
            continue
        for command, shown in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", content, re.MULTILINE):
            if command.startswith("cat "):
                subprocess.run(["sh", "-c", command], check=True, timeout=10)
            elif command.startswith("kdm "):
                cli.main(shlex.split(command)[1:])
                told = capsys.readouterr()
                assert same_on_every_run(told.out + told.err) == same_on_every_run(shown), command
                ran.append(command.split()[1])
    assert {*ran} == {"certs", "policy"}
    assert len(ran) >= 16


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_has_a_grammar_is_well_formed(document: Path) -> None:
    for language, content in blocks(document):
        if language == "toml":
            assert parse_policy(content).grants
        elif language == "yaml":
            assert all(list(yaml.safe_load_all(content)))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_pointed_to_is_there(document: Path) -> None:
    text = document.read_text()
    paths = {REPOSITORY / path for path in re.findall(r"`((?:src|tests|docs|certs)/[\w./-]+)`", text)}
    paths |= {document.parent / path for path in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text)}
    assert paths
    assert {path for path in paths if not path.exists()} == set()


def test_the_guide_shows_every_key_of_a_grant() -> None:
    """A key that is missing there would not be known to anybody."""
    policies = "\n".join(content for language, content in blocks(SECURITY) if language == "toml")
    for key in ("name", "users", "groups", "spiffe", "anyone", "verbs", "namespaces", "names", "labels", "replicas"):
        assert re.search(rf"^{key} = ", policies, re.MULTILINE), key
