"""What the search for counterexamples has found keeps its laws: ``nox -s fuzz`` looks for more."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz.search import CORPUS
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_input_of_the_corpus_keeps_its_laws(name: str) -> None:
    inputs = sorted(Path(CORPUS, name).iterdir())
    assert inputs
    for each in inputs:
        TARGETS[name](each.read_bytes())
