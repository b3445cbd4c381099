"""What is known to be secret, and texts without it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MIN_SECRET_LENGTH: Final = 4
"""Shorter values, such as an environment variable's ``1``, occur everywhere and protect nothing."""

MAX_TEXT_LENGTH: Final = 500


class Redactor:
    """Replaces known secrets in texts that are meant for the log.

    Args:
        secrets: The secrets.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {each.strip() for each in secrets}
        known |= {quote(each, safe="") for each in known}
        known |= {line.strip() for each in known for line in each.splitlines()}
        self._secrets = sorted((each for each in known if len(each) >= MIN_SECRET_LENGTH), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return a text in one line, without what is secret, and not too long."""
        for secret in self._secrets:
            text = text.replace(secret, "[secret]")
        return " ".join(text.split())[:MAX_TEXT_LENGTH]
