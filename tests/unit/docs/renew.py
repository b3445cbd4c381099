"""Write what the examples of the documentation print now into their pages; read the difference before you commit it.

Run it in ``tests``::

    python -m unit.docs.renew docs/api/v2.md ...

Without arguments every page is renewed.
"""

from __future__ import annotations

import sys
import tempfile
import textwrap
from pathlib import Path

from unit.docs.examples import REPOSITORY, Example
from unit.docs.test_examples import SESSIONS, Stage, outputs, same_on_every_run, staged_in


def renewed(text: str, example: Example, output: str) -> str:
    """Return a page with another output of one of its examples."""
    lines = text.splitlines(keepends=True)
    before, rest = "".join(lines[: example.line - 1]), "".join(lines[example.line - 1 :])
    for indent in ("", "    "):
        code, shown, new = (textwrap.indent(each, indent) for each in (example.code, example.shown, output))
        start = rest.find(code.lstrip())
        after = start + len(code.lstrip()) + 1
        if start >= 0 and (at := rest.find(shown, after)) >= 0:
            return before + rest[:at] + new.rstrip("\n") + "\n" + rest[at + len(shown) :]
    raise SystemExit(f"line {example.line}: cannot find the output to replace")


def renew(page: Path, client: str, stage: Stage) -> None:
    """Renew one client's examples of a page."""
    with tempfile.TemporaryDirectory() as directory:
        results = list(outputs(page, client, stage, Path(directory)))
    text = page.read_text(encoding="utf-8")
    for example, output in reversed(results):  # so that the lines of those before stay
        if same_on_every_run(output) != same_on_every_run(example.shown):
            text = renewed(text, example, output)
            print(f"{page.relative_to(REPOSITORY)}:{example.line}: renewed")
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Renew the pages that are named, or all."""
    pages = {(REPOSITORY / each).resolve() for each in sys.argv[1:]} or {page for page, _ in SESSIONS}
    with tempfile.TemporaryDirectory() as directory, staged_in(Path(directory)) as stage:
        for page, client in SESSIONS:
            if page in pages:
                renew(page, client, stage)


if __name__ == "__main__":
    main()
