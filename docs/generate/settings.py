"""The settings of ``kdm serve``, from their declarations."""

from __future__ import annotations

from collections.abc import Iterable

from docs.generate.code import prose
from kdm_cli.settings import SETTINGS, Setting


def describe_settings(names: str) -> str:
    """Return a table of settings, from the first to the last of the two named."""
    first, last = names.split(" to ")
    order = [each.name for each in SETTINGS]
    return _table(SETTINGS[order.index(first) : order.index(last) + 1])


def describe_limits(_: str) -> str:
    """Return a table of the limits."""
    return _table(each for each in SETTINGS if each.limit)


def _table(settings: Iterable[Setting]) -> str:
    rows = ["| flag | variable | default | what |", "|---|---|---|---|"]
    for each in settings:
        flag = f"`{each.flag}`, `--no-{each.flag[2:]}`" if isinstance(each.default, bool) else f"`{each.flag}`"
        default = f"`{each.shown_default}`" if each.shown_default else ""
        rows.append(f"| {flag} | `{each.variable}` | {default} | {prose(each.help)} |")
    return "\n".join(rows)
