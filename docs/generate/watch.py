"""The watch's rules, as a table and as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from kdm_adapters.kubernetes.watch.rules import RULES, Phase, Rule, Situation, Then

_RELIST: Final = "relist"
_WIDTH: Final = 1060
_HEIGHT: Final = 690
_BOXES: Final = {
    _RELIST: ("read everything", 530, 50),
    Phase.WATCH_LIST.value: ("watch-list", 260, 270),
    Phase.LIST.value: ("list", 800, 270),
    Phase.WATCH.value: ("watch", 530, 520),
}
_ARROWS: Final = {
    (_RELIST, "watch-list"): ("M465 50H260V246", 270, 90, 30, "start"),
    (_RELIST, "list"): ("M595 50H800V246", 790, 90, 30, "end"),
    ("watch-list", "watch-list"): ("M195 258h-36v24h34", 150, 240, 25, "end"),
    ("watch-list", "list"): ("M325 270H733", 340, 288, 27, "start"),
    ("watch-list", _RELIST): ("M310 248V130H495V74", 320, 148, 30, "start"),
    ("watch-list", "watch"): ("M260 292C260 420 340 520 463 520", 255, 410, 30, "end"),
    ("list", "list"): ("M865 258h36v24h-34", 910, 240, 25, "start"),
    ("list", _RELIST): ("M750 248V130H565V74", 740, 148, 30, "end"),
    ("list", "watch"): ("M800 292C800 420 720 520 597 520", 805, 410, 30, "start"),
    ("watch", "watch"): ("M500 542v36h60v-34", 575, 576, 60, "start"),
    ("watch", _RELIST): ("M530 498V74", 545, 315, 34, "start"),
}
"""From, to: the line, where its words begin, how many characters a line of them has, and which end of them is there."""

_STYLE: Final = """
.watch text { fill: var(--md-default-fg-color, #222); font: 13px system-ui, sans-serif; }
.watch .small { font-size: 11px; fill: var(--md-default-fg-color--light, #555); }
.watch .strong { font-weight: 600; }
.watch .box { fill: var(--md-code-bg-color, #f5f5f5); stroke: #5c6bc0; }
.watch .line { stroke: var(--md-default-fg-color--light, #555); stroke-width: 1.2; fill: none; }
.watch .head { fill: var(--md-default-fg-color--light, #555); }
"""


def describe_rules(_: str) -> str:
    """Return the table of rules."""
    rows = ["| while | what happens | then | counted as | why |", "|---|---|---|---|---|"]
    for rule in RULES:
        phases = "any" if rule.phases == tuple(Phase) else ", ".join(each.value for each in rule.phases)
        counted = f"`{rule.reason}`" if rule.reason else ""
        rows.append(f"| {phases} | {rule.situation.value} | {_consequence(rule)} | {counted} | {rule.why} |")
    return "\n".join(rows)


def draw_rules() -> str:
    """Return the rules as a state diagram, in SVG."""
    words: dict[tuple[str, str], list[str]] = {
        (_RELIST, "watch-list"): ["where the server can"],
        (_RELIST, "list"): ["otherwise"],
    }
    for begin, end, rule in _edges():
        words.setdefault((begin, end), []).append(rule.situation.value + (" (backoff)" if rule.backoff else ""))
    anywhere = ["While the request goes on:"]
    anywhere += [f"{rule.situation.value}: {_consequence(rule)}" for rule in RULES if rule.then in _STAYS]
    drawn = [_arrow(edge, lines) for edge, lines in words.items()]
    drawn.append(_words(20, 600, anywhere, 75, "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="The phases of a watch and what leads from one '
        f'to another" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}">\n'
        f'<style>{_STYLE}</style>\n<g class="watch">\n<defs><marker id="watch-tip" viewBox="0 0 10 10" refX="9" '
        'refY="5" markerWidth="8" markerHeight="8" orient="auto"><path class="head" d="M0 0 10 5 0 10z"/></marker>'
        "</defs>\n" + "\n".join([*drawn, *(_box(*each) for each in _BOXES.values())]) + "\n</g>\n</svg>\n"
    )


_STAYS: Final = frozenset({Then.RELIST_SOON, Then.RELIST_AT_ONCE})


def _edges() -> Iterator[tuple[str, str, Rule]]:
    ends = {
        Then.FOLLOW: Phase.WATCH.value,
        Then.WATCH: Phase.WATCH.value,
        Then.LIST: Phase.LIST.value,
        Then.RELIST: _RELIST,
    }
    for rule in RULES:
        for phase in rule.phases:
            if rule.then not in _STAYS and rule.situation is not Situation.START:
                yield phase.value, ends.get(rule.then, phase.value), rule


def _consequence(rule: Rule) -> str:
    newest = " of the newest state" if rule.newest else ""
    then = (
        f"the same again{newest}"
        if rule.then is Then.AGAIN
        else rule.then.value.replace("relist", f"relist{newest}", 1)
    )
    return f"{'backoff, then ' if rule.backoff else ''}{then}"


def _arrow(edge: tuple[str, str], lines: list[str]) -> str:
    path, x, y, width, anchor = _ARROWS[edge]
    return f'<path class="line" d="{path}" marker-end="url(#watch-tip)"/>{_words(x, y, lines, width, anchor)}'


def _words(x: int, y: int, lines: Iterable[str], width: int, anchor: str) -> str:
    wrapped = [part for line in lines for part in textwrap.wrap(line, width, subsequent_indent="\u2003")]
    spans = "".join(f'<tspan x="{x}" dy="{13 if i else 0}">{escape(part)}</tspan>' for i, part in enumerate(wrapped))
    return f'<text class="small" x="{x}" y="{y}" text-anchor="{anchor}">{spans}</text>'


def _box(title: str, x: int, y: int) -> str:
    return (
        f'<rect class="box" x="{x - 65}" y="{y - 22}" width="130" height="44" rx="6"/>'
        f'<text class="strong" x="{x}" y="{y + 5}" text-anchor="middle">{title}</text>'
    )
