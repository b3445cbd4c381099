"""The decisions in the navigation: every record that is there, in order, so that adding one is adding its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig, **_: Any) -> MkDocsConfig:
    """Fill the section."""
    section: list[Any] = next(each["Decisions"] for each in config.nav or [] if "Decisions" in each)
    section += [f"adr/{path.name}" for path in sorted((Path(config.docs_dir) / "adr").glob("0*.md"))]
    return config
