"""Pages that live elsewhere in the repository, and links that leave ``docs/``.

SECURITY.md and its like stand where every repository has them, and are pages of the site too. A relative link works on
both: here one to such a page is rewritten; one to any other file of the repository, which the site does not have,
becomes its path. A link to nothing stays, for MkDocs to refuse.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any, Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY: Final = Path(__file__).parents[2]
PAGES: Final = {
    "SECURITY.md": "project/security-model.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "certs/README.md": "project/development-certificates.md",
    "deploy/helm/kdm/README.md": "project/helm-chart.md",
}
"""From a file of the repository to its page."""

_FENCE: Final = re.compile(r"^( *)(`{3,}).*?^\1\2`*$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[([^\]\n]*)\]\(([^()\s:#]+)(#[\w-]+)?\)")


def on_files(files: Files, config: MkDocsConfig, **_: Any) -> Files:
    """Add the pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(REPOSITORY / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite the links of a page, wherever it is."""
    here = page.file.src_uri
    source = next((each for each, its_page in PAGES.items() if its_page == here), f"docs/{here}")

    def rewrite(link: re.Match[str]) -> str:
        text, path, anchor = link[1], link[2], link[3] or ""
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if target in PAGES:
            target = PAGES[target]
        elif target.startswith("docs/") and (REPOSITORY / target).is_file() and not target.endswith(".py"):
            target = target.removeprefix("docs/")
        elif (REPOSITORY / target).exists():
            return f"`{target}`" if text.strip("`") in {target, path} else f"{text} (`{target}`)"
        else:
            return link[0]
        return f"[{text}]({os.path.relpath(target, posixpath.dirname(here) or '.')}{anchor})"

    kept, at = [], 0
    for fence in _FENCE.finditer(markdown):
        kept += [_LINK.sub(rewrite, markdown[at : fence.start()]), fence[0]]
        at = fence.end()
    return "".join([*kept, _LINK.sub(rewrite, markdown[at:])])
