"""Record what the command shows on a terminal, as pictures for the documentation, from real runs.

Run it in ``tests``: ``python -m unit.docs.record``. A test records them again and compares.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyte

from kdm_core import DeploymentCondition, DeploymentRef
from unit.cli.command.asking import Asked, asked, context_file
from unit.cli.command.terminal import Terminal
from unit.docs.examples import DOCS

IMAGES: Final = DOCS / "img"

_CELL: Final = (8.4, 18)
"""The width and the height of a character of 14 pixels, in pixels."""

_COLOURS: Final = {"default": "#d8dee9", "green": "#a3be8c", "brown": "#ebcb8b", "red": "#e06c75", "cyan": "#88c0d0"}
_OTHER: Final = "#81a1c1"


def recordings(directory: Path) -> Iterator[tuple[str, str]]:
    """Yield the pictures: the name of the file, and what it is to hold."""
    with asked(directory) as kdm:
        context_file(directory / "contexts.toml", kdm.served)
        environment = {"KDM_CONFIG": str(directory / "contexts.toml")}

        def record(
            name: str, *arguments: str, columns: int, until: Callable[[str], bool], **variables: str
        ) -> tuple[str, str]:
            rows = 14
            with Terminal(arguments, environment | variables, columns=columns, rows=rows) as terminal:
                terminal.until(until)
                return name, picture(terminal.screen, f"kdm {' '.join(arguments)}", variables)

        stage(kdm)
        all_there = {"until": lambda text: "storefront" in text and "worker" in text}
        yield record("command-get.svg", "get", "-A", columns=80, **all_there)  # type: ignore[arg-type]
        yield record("command-get-plain.svg", "get", "-A", columns=80, NO_COLOR="1", **all_there)  # type: ignore[arg-type]
        yield record("command-watch.svg", "watch", "-A", columns=132, until=lambda text: "6 Deployments" in text)
        yield record(
            "command-scale.svg", "scale", "-n", "shop", "storefront=9", "--wait", columns=80,
            until=lambda text: "4/9" in text and "settling" in text,
        )  # fmt: skip
        yield record("command-plan.svg", "scale", "-A", "-l", "tier=web", "--factor", "0.5", columns=80, until=asks)


def asks(text: str) -> bool:
    return "[y/N]" in text


def stage(kdm: Asked) -> None:
    """Put the cluster into a state that has something to show."""
    kdm.create("payments/ledger", 2, tier="backend")
    kdm.create("payments/worker", 3, tier="batch")
    kdm.create("shop/api", 8, tier="web")
    kdm.create("shop/checkout", 5, tier="backend")
    stuck = kdm.create("shop/search", 2, held=True, tier="backend")
    storefront = kdm.create("shop/storefront", 4, held=True, tier="web")
    quota = DeploymentCondition("True", "FailedCreate", "exceeded quota: compute, requested: pods=1, limited: pods=20")

    def trouble(cluster: Any) -> None:
        cluster.scale(stuck, 3)
        cluster.report(stuck, replica_failure=quota)
        cluster.watchers.append(notice)

    def notice(ref: DeploymentRef, deployment: Any) -> None:
        """Let the controllers see each new count of the storefront, and no more."""
        if ref == storefront and deployment is not None and deployment.generation != deployment.observed_generation:
            kdm.cluster.report(storefront)

    kdm.do(trouble)


def picture(screen: pyte.Screen, command: str, variables: Mapping[str, str]) -> str:
    """Return what stands on a screen as SVG, below the command that was typed."""
    said = " ".join([*(f"{name}={value}" for name, value in variables.items()), command])
    rows = [screen.buffer[at] for at in range(screen.lines)]
    last = max((at for at, row in enumerate(rows) if any(row[x].data != " " for x in range(screen.columns))), default=0)
    lines = [f'<tspan fill="{_OTHER}">$ </tspan>{escape(said)}']
    lines += [_line([row[x] for x in range(screen.columns)]) for row in rows[: last + 1]]
    width, height = round(screen.columns * _CELL[0]) + 32, len(lines) * _CELL[1] + 32
    texts = "\n".join(
        f'<text x="16" y="{at * _CELL[1] + 30}" xml:space="preserve">{line}</text>' for at, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">\n'
        f"<title>{escape(said)}</title>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#2e3440"/>\n'
        f'<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="{_COLOURS["default"]}">\n'
        f"{texts}\n</g>\n</svg>\n"
    )


def _line(cells: Sequence[Any]) -> str:
    parts = []
    for (colour, bold), run in groupby(cells, key=lambda cell: (cell.fg, cell.bold)):
        text = escape("".join(cell.data for cell in run))
        weight = ' font-weight="bold"' if bold else ""
        fill = "" if colour == "default" else f' fill="{_COLOURS.get(colour, _OTHER)}"'
        parts.append(f"<tspan{fill}{weight}>{text}</tspan>" if fill or weight else text)
    return "".join(parts).rstrip()


def main() -> None:
    """Record every picture."""
    with tempfile.TemporaryDirectory() as directory:
        for name, content in recordings(Path(directory)):
            (IMAGES / name).write_text(content, encoding="utf-8")
            print(f"recorded {name}")


if __name__ == "__main__":
    main()
