"""The examples of a page: what to run, and what the page says that it prints.

A ``console`` block has commands after ``$`` with their output below; a ``python`` block may be followed by a ``text``
block, its output. Blocks of a content tab (``=== "httpx"``) belong to that kind of client; others to their language.
A block's title names the kdm that it talks to, if not one on demo data: ``kdm serve --dev ...``, or a state of its
cluster; or, where it ends in ``.py``, the file that the block is. What is run against another kdm comes after the first
block of its kind of client, which makes the client.
"""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from pathlib import Path
from typing import Final

from attrs import evolve, frozen

REPOSITORY: Final = Path(__file__).parents[3]
DOCS: Final = REPOSITORY / "docs"

_BLOCK: Final = re.compile(
    r'^(?P<indent> *)```(?P<language>\w+)(?: title="(?P<title>[^"]*)")?\n(?P<content>.*?)^(?P=indent)```$'
    r'|^=== "(?P<tab>[^"]+)"$',
    re.MULTILINE | re.DOTALL,
)
_GENERATED: Final = re.compile(r"<!-- generated: .*?<!-- end of generated -->", re.DOTALL)
"""Signatures and the like: made from the code, by docs/generate."""

_COMMAND: Final = re.compile(r"^\$ ((?:.*<<'EOF'\n(?:.*\n)*?EOF)|(?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
"""A command, which a backslash or a here-document continues, and what it prints."""


@frozen
class Example:
    """Something to run.

    Attributes:
        code: A shell command or some Python.
        shown: What the page says it prints.
        line: Where it stands in the page.
        server: Which kdm it talks to; "" for one on demo data.
    """

    code: str
    shown: str
    line: int
    server: str = ""


def examples(page: Path) -> dict[str, list[Example]]:
    """Return a page's examples by kind of client: a tab's name, "console" or "python"; each in order."""
    found: dict[str, list[Example]] = defaultdict(list)
    text = _GENERATED.sub(lambda part: "\n" * part[0].count("\n"), page.read_text(encoding="utf-8"))
    tab, last = "", ""
    for block in _BLOCK.finditer(text):
        if block["tab"]:
            tab = block["tab"]
            continue
        language, content = block["language"], textwrap.dedent(block["content"])
        client = tab if block["indent"] else language
        line = text.count("\n", 0, block.start()) + 1
        if language == "console":
            found[client] += [
                Example(command, shown, line, block["title"] or "") for command, shown in _COMMAND.findall(content)
            ]
        elif language == "python" and not (block["title"] or "").endswith(".py"):
            found[client].append(Example(content, "", line, block["title"] or ""))
        elif language == "text" and last == "python":
            client = tab if block["indent"] else "python"
            found[client][-1] = evolve(found[client][-1], shown=content)
        last = language
    return found


def files(page: Path) -> dict[str, str]:
    """Return the files that a page shows: name and content."""
    blocks = _BLOCK.finditer(page.read_text(encoding="utf-8"))
    return {block["title"]: block["content"] for block in blocks if (block["title"] or "").endswith(".py")}
