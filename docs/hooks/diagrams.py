"""Puts the SVG files of ``docs/diagrams`` into the pages, where they take the site's colours.

As images they would not: an image does not see the style sheet of its page, nor which palette the reader chose.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from mkdocs.structure.pages import Page

_IMAGE: Final = re.compile(r"^!\[.*?\]\(((?:\.\./)*diagrams/[\w-]+\.svg)\)$", re.MULTILINE)


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Replace a page's pictures of diagrams by the drawings themselves."""

    def inline(image: re.Match[str]) -> str:
        drawing = Path(page.file.abs_src_path or "").parent / image[1]
        return f'<div class="diagram">{" ".join(drawing.read_text(encoding="utf-8").split())}</div>'

    return _IMAGE.sub(inline, markdown)
