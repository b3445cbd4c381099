"""What the README shows is what happens. Its ``curl`` commands are run with the documentation's examples."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from kdm_cli import dev_context, serve

REPOSITORY = Path(__file__).parents[2]
README = REPOSITORY / "README.md"


def test_the_library_example_prints_what_the_readme_says() -> None:
    examples = re.findall(r"^```python\n(.*?)^```\n+^```\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert examples
    for code, output in examples:
        ran = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.stdout == output, ran.stderr


def test_make_run_prints_what_the_readme_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    (shown,) = re.findall(r"^```text\n\$ make run\n(.*?)\n```", README.read_text(), re.MULTILINE | re.DOTALL)
    first, _, examples = shown.partition("\n")
    assert first.startswith(
        "kdm serves https://localhost:8443 (mTLS) from memory; probes and metrics on http://localhost:"
    )
    commands = dev_context.examples(".venv/bin/kdm", "")
    assert examples == serve._examples("https://localhost:8443", "http://localhost:8081", commands)


def test_it_is_short_and_says_where_to_go_next() -> None:
    text = README.read_text()
    assert len(text.splitlines()) < 200
    links = re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", text)
    assert len(links) > 10
    assert [each for each in links if not (REPOSITORY / each).exists()] == []
