"""What is known to be secret, and texts without it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

MIN_SECRET_LENGTH: Final = 4
"""Shorter values, such as an environment variable's ``1``, occur everywhere and protect nothing."""

MAX_TEXT_LENGTH: Final = 500

_MASK: Final = "[secret]"


class Redactor:
    """Replaces known secrets in texts: in what is meant for the log, and in what a server or a proxy answers.

    Args:
        secrets: The secrets.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = {each.strip() for each in secrets}
        known |= {quote(each, safe=safe) for each in known for safe in ("", "/")}
        known |= {line.strip() for each in known for line in each.splitlines()}
        self._secrets = sorted((each for each in known if len(each) >= MIN_SECRET_LENGTH), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return a text in one line, without what is secret, and not too long."""
        return " ".join(self.mask(text).split())[:MAX_TEXT_LENGTH]

    def mask(self, text: str) -> str:
        """Return a text without what is secret, nor the beginning of it at the end, where it may have been cut off."""
        for secret in self._secrets:
            text = text.replace(secret, _MASK)
        end = text.rstrip("'\"\ufffd ")
        for secret in self._secrets:
            for length in range(min(len(secret), len(end)), MIN_SECRET_LENGTH - 1, -1):
                if end.endswith(secret[:length]):
                    return end[:-length] + _MASK + text[len(end) :]
        return text
