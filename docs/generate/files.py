"""Files of the repository, as they are: programs that are tested where they are."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_REPOSITORY: Final = Path(__file__).parents[2]
_LANGUAGES: Final = {".py": "python", ".ts": "typescript"}


def show_file(path: str) -> str:
    """Return a file as a block of code."""
    content = (_REPOSITORY / path).read_text(encoding="utf-8").strip()
    return f"```{_LANGUAGES[Path(path).suffix]}\n{content}\n```"
