"""The page of the documentation that tells what kubectl and kdm do with each kubeconfig of the table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from .case import Case, Outcome
from .running import Both, Oracle
from .table import TABLE

__all__ = ["PAGE", "renewed", "text"]

PAGE: Final = Path(__file__).parents[3] / "docs" / "reference" / "kubeconfig.md"
_PART: Final = re.compile(r"(?<=<!-- seen -->\n).*(?=<!-- end of seen -->)", re.DOTALL)
_LONGEST: Final = 120


async def text(oracle: Oracle) -> str:
    """Run the whole table, and return what the page has to tell of it."""
    oracle.start(case for cases in TABLE.values() for case in cases)
    seen = {case.claim: await oracle.ask(case) for cases in TABLE.values() for case in cases}
    return _render(TABLE, seen, await oracle.version())


def renewed(page: str, seen: str) -> str:
    """Return the page with what was seen."""
    new, count = _PART.subn(lambda _: seen, page)
    if count != 1:
        raise ValueError("the page has no place for it")
    return new


def _render(table: Mapping[str, Sequence[Case]], seen: Mapping[str, Both], version: str) -> str:
    total = sum(map(len, table.values()))
    differing = sum(bool(case.differs) for cases in table.values() for case in cases)
    lines = ["", f"{total} kubeconfigs, kubectl {version}. kdm does the same with all but {differing}.", ""]
    for group, cases in table.items():
        lines += [f"### {group}", "", "| kubeconfig | kubectl | kdm |", "|---|---|---|"]
        for case in cases:
            both = seen[case.claim]
            kdm = f"{_cell(both.kdm)}. {case.differs}" if case.differs else "the same"
            lines.append(f"| {_plain(case.claim)} | {_cell(both.kubectl)} | {kdm} |")
        lines.append("")
    return "\n".join(lines) + "\n"


def _cell(outcome: Outcome) -> str:
    parts = [_code(line) for line in outcome.sent]
    if outcome.told:
        parts.append(f"the plugin is told {_code(outcome.told)}")
    if not outcome.succeeded:
        reached = " and ".join(f"`{name}`" for name in outcome.distrusted)
        parts.append(f"refuses {reached}, once connected" if reached else "refuses")
    return "<br>".join(parts)


def _plain(words: str) -> str:
    return words.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def _code(words: str) -> str:
    visible = "".join(char if char.isprintable() else repr(char)[1:-1] for char in words)
    short = visible if len(visible) <= _LONGEST else visible[: _LONGEST - 1] + "…"
    return "`" + short.replace("|", "¦").replace("`", "'") + "`"
