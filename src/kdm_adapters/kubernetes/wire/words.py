"""Other people's words, made fit to be shown: on one line, bounded, without markup, control characters or secrets."""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import urlsplit

MAX_CHARS: Final = 2000
"""How much of a message is shown, in characters. A policy engine that names every rule that failed needs some 1000."""

MAX_PAGE_CHARS: Final = 300
"""How much is shown of what is no message of the cluster's, in characters: the heading of a gateway's page."""

REDACTED: Final = "[redacted]"

_READ_CHARS: Final = 16 * 1024
"""How much is looked at, in characters: what follows is not shown, however much of the rest is markup."""

_SCRIPT: Final = re.compile(r"<(script|style)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<[!/?a-zA-Z][^<>]*>?")
_PAGE: Final = re.compile(r"\s*<|.{0,1000}?<(?:!doctype|html|head|body)\b", re.IGNORECASE | re.DOTALL)

# A value that looks like one: with a digit in it, or long. "Bearer authentication is needed" has none.
_CREDENTIAL: Final = r"(?=[^\s\"']*\d|[^\s\"']{20})[\w.~+/=:%-]{6,}"
_SECRETS: Final = (
    re.compile(r"(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)"),
    # The header fields that carry credentials, as text, JSON or a table: their value whatever it is, scheme and all.
    re.compile(
        r"\b((?:proxy-)?authorization|(?:set-)?cookie)(?:[\"']?\s*[:=]\s*[\[\"']*|(?:\s|<[^<>]{0,40}>)+(?=(?:bearer|basic)\s))"
        r"(?:[a-z]+\s+)?[^\s\"'<>]+",
        re.IGNORECASE,
    ),
    re.compile(rf"\b(bearer|basic|negotiate|ntlm|token)\s+(?:<[^<>]{{0,40}}>\s*)?{_CREDENTIAL}", re.IGNORECASE),
    re.compile(
        rf"\b([\w-]{{0,40}}(?:token|secret|password|api[-_]?key|session|signature))[\"']?\s*[:=]\s*[\"']?{_CREDENTIAL}",
        re.IGNORECASE,
    ),
    re.compile(r"()\beyJ[\w-]{5,}\.[\w-]*(?:\.[\w-]*)?"),  # a JSON Web Token
    re.compile(r"(://)[^/\s@]+(?=@)"),  # user and password in an address
)


def plain(text: str, limit: int = MAX_CHARS) -> str:
    """Return a text as it can be shown anywhere: every run of white space is a space, what is not printable escaped.

    Args:
        text: Somebody else's words, of any length.
        limit: How much of it is shown, in characters.
    """
    line = " ".join(text[:_READ_CHARS].split())
    for secret in _SECRETS:
        line = secret.sub(rf"\1 {REDACTED}", line)
    line = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in line).strip()
    return line if len(line) <= limit and len(text) <= _READ_CHARS else f"{line[:limit]}..."


def shown(body: bytes | bytearray) -> str:
    """Return the beginning of an answer that is not what it should be; of a web page, its text."""
    text = bytes(body[:_READ_CHARS]).decode(errors="replace").removeprefix("\ufeff")
    if _PAGE.match(text):
        text = _TAG.sub(" ", html.unescape(_TAG.sub(" ", _SCRIPT.sub(" ", text))))
    return plain(text, MAX_PAGE_CHARS) or "no explanation"


def address(location: str, asked: str | None = None) -> str:
    """Return where a redirect leads, without what may be secret in it: query, fragment, user and password.

    Args:
        location: As the answer has it.
        asked: The host that was asked. It is not named: callers need not know the cluster's address.
    """
    try:
        parts = urlsplit(location)
        elsewhere = parts.hostname not in {None, asked}
    except ValueError:
        return "an address that makes no sense"
    host = parts.netloc.rpartition("@")[2] if elsewhere else ""
    return plain(f"{parts.scheme}://{host}{parts.path}" if host else parts.path, MAX_PAGE_CHARS)
