"""The table of values in the chart's README, made of values.yaml and the comments in it.

Run as a program, `python tests/integration/chart/values_table.py`, it writes the table into the README.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

CHART: Final = Path(__file__).parents[3] / "deploy" / "helm" / "kdm"
BEGIN: Final = "<!-- values.yaml, as `python tests/integration/chart/values_table.py` writes it -->\n"
END: Final = "<!-- end of values.yaml -->"


class Undocumented(Exception):
    """A value has no `# --` comment, or a comment no value."""


def rows(text: str) -> list[tuple[str, Any, str]]:
    """Read path, default and description of each value.

    A value is documented by the line `# -- ...` before its key. Keys without one only lead to others, which all are.

    Raises:
        Undocumented: A value has no description.
    """
    values = yaml.safe_load(text)
    found: list[tuple[str, Any, str]] = []
    path: list[tuple[int, str]] = []
    description = ""
    skip_deeper_than: int | None = None
    for line in text.splitlines():
        if comment := re.fullmatch(r" *# -- (.+)", line):
            description = comment[1]
            continue
        key = re.match(r"( *)(\w+):", line)
        if not key:
            continue
        indent = len(key[1])
        if skip_deeper_than is not None and indent > skip_deeper_than:
            continue
        skip_deeper_than = None
        path = [*((depth, name) for depth, name in path if depth < indent), (indent, key[2])]
        if description:
            names = [name for _, name in path]
            found.append((".".join(names), _at(values, names), description))
            skip_deeper_than = indent
            description = ""
    documented = {path for path, _, _ in found}
    missing = [each for each in _leaves(values) if not any(_within(each, path) for path in documented)]
    if missing or description:
        raise Undocumented(f"values.yaml does not say what these are: {', '.join(missing) or description}")
    return found


def table() -> str:
    """Write the table, between its marks."""
    lines = ["| value | default | |", "|---|---|---|"]
    for path, default, description in rows((CHART / "values.yaml").read_text()):
        cell = json.dumps(default).replace("|", "\\|")
        lines.append(f"| `{path}` | `{cell}` | {description.replace('|', chr(92) + '|')} |")
    return BEGIN + "\n".join(lines) + "\n" + END


def renewed(readme: str) -> str:
    """Return the README with the table as it must be."""
    before, _, rest = readme.partition(BEGIN)
    return before + table() + rest.partition(END)[2]


def _at(values: Any, names: list[str]) -> Any:
    for name in names:
        values = values[name]
    return values


def _leaves(values: Any, prefix: str = "") -> list[str]:
    if not isinstance(values, dict) or not values:
        return [prefix]
    return [leaf for key, value in values.items() for leaf in _leaves(value, f"{prefix}.{key}".lstrip("."))]


def _within(leaf: str, path: str) -> bool:
    return leaf == path or leaf.startswith(f"{path}.")


if __name__ == "__main__":
    readme = CHART / "README.md"
    readme.write_text(renewed(readme.read_text()))
