"""Renew the generated parts of the documentation: ``python -m docs.generate``, or ``--check`` to change nothing.

A part stands between two comments of a page and is made from the code alone::

    <!-- generated: settings -->
    ...
    <!-- end of generated -->
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from docs.generate import click_tree, code, commands, errors, files, metrics, operations, settings, v2, watch

DOCS: Final = Path(__file__).parents[1]
MAKERS: Final[dict[str, Callable[[str], str]]] = {
    "class": code.describe_class,
    "command": click_tree.describe_command,
    "commands": click_tree.list_commands,
    "errors": errors.describe_errors,
    "exceptions": errors.describe_exceptions,
    "exits": click_tree.list_exits,
    "file": files.show_file,
    "function": code.describe_function,
    "help": commands.describe_help,
    "limits": settings.describe_limits,
    "metrics": metrics.describe_metrics,
    "operation": operations.describe_operation,
    "operations": operations.list_operations,
    "problems": v2.describe_problems,
    "rules": watch.describe_rules,
    "settings": settings.describe_settings,
    "v2": v2.describe_operation,
}
"""What a part can be. Each is given the words after its name."""

DRAWINGS: Final[dict[str, Callable[[], str]]] = {"diagrams/watch.svg": watch.draw_rules}
"""Pictures that are made from the code, by their path."""

_PART: Final = re.compile(
    r"(?P<begin><!-- generated: (?P<what>\w+)(?: (?P<words>[^\n]+?))? -->\n)"
    r"(?:(?!<!-- generated: ).)*?(?P<end><!-- end of generated -->)",
    re.DOTALL,
)


def renewed(page: str) -> str:
    """Return a page with its generated parts as the code is now."""

    def remade(part: re.Match[str]) -> str:
        text = MAKERS[part["what"]](part["words"] or "").strip()
        return f"{part['begin']}\n{text}\n\n{part['end']}"

    new, count = _PART.subn(remade, page)
    if count != page.count("<!-- generated: "):
        raise ValueError("a generated part has no end")
    return new


def main() -> int:
    """Renew every page, or tell which ones differ."""
    check = sys.argv[1:] == ["--check"]
    differing = []
    for path in [*sorted(DOCS.rglob("*.md")), *(DOCS / each for each in DRAWINGS)]:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        drawing = DRAWINGS.get(str(path.relative_to(DOCS)))
        new = drawing() if drawing else renewed(old)
        if new != old:
            differing.append(path)
            if not check:
                path.write_text(new, encoding="utf-8")
    for path in differing:
        print(f"{path.relative_to(DOCS.parent)}: {'differs from the code' if check else 'renewed'}")
    if check and differing:
        print("renew them: python -m docs.generate")
    return int(check and bool(differing))


if __name__ == "__main__":
    sys.exit(main())
