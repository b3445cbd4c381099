"""The pictures of the command's terminal are what it shows."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

from unit.docs.record import IMAGES, recordings

FULL = {"command-get.svg", "command-get-plain.svg", "command-watch.svg", "command-plan.svg", "command-scale.svg"}


def test_the_pictures_of_the_command_are_what_it_shows_now(tmp_path: Path) -> None:
    """Wide and of 80 columns, with colours and without. Renew them: ``python -m unit.docs.record``, in ``tests``."""
    recorded = dict(recordings(tmp_path))
    assert set(recorded) == FULL == {each.name for each in IMAGES.glob("command-*.svg")}
    for name, content in recorded.items():
        assert (IMAGES / name).read_text(encoding="utf-8") == content, name
        assert ET.fromstring(content).tag.endswith("svg")  # noqa: S314 - our own
    assert "#a3be8c" in recorded["command-get.svg"]
    assert "#a3be8c" not in recorded["command-get-plain.svg"]
