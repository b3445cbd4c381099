"""The files of the page, read once: each with its media type, its entity tag and its gzip form.

All files but the index are below a directory that is named after a digest of them all. So their URLs change whenever
one of them does, they may be kept for a year, and modules import each other by plain relative names.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from attrs import frozen

BASE: Final = "/ui"
"""Where the page is."""

INDEX: Final = "index.html"
MEDIA_TYPES: Final[Mapping[str, bytes]] = {
    ".css": b"text/css; charset=utf-8",
    ".html": b"text/html; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}

GUARDS: Final[Mapping[bytes, bytes]] = {
    b"content-security-policy": b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"referrer-policy": b"no-referrer",
}
"""Header fields of every file: nothing is loaded from elsewhere, and nobody else embeds, opens or reads the page."""

IMMUTABLE: Final = b"private, max-age=31536000, immutable"
"""The Cache-Control of a file whose URL changes with it (RFC 8246)."""

REVALIDATED: Final = b"private, no-cache"
"""The Cache-Control of the index."""

_ROOT: Final = Path(__file__).parent / "static"


class Form(NamedTuple):
    """One form of a file.

    Attributes:
        body: Its bytes.
        encoding: How they are compressed; empty for not at all.
        tag: Its entity tag, as the field ``ETag`` has it (RFC 9110, section 8.8.3.3).
        fields: Header fields of every answer with it, also where the browser has it.
    """

    body: bytes
    encoding: bytes
    tag: bytes
    fields: Mapping[bytes, bytes]


@frozen
class Asset:
    """One file.

    Attributes:
        body: Its bytes.
        gzipped: The same, compressed.
        media_type: Of the bytes.
        digest: Of the bytes, in hexadecimal digits.
        cache_control: How long a browser may keep it.
    """

    body: bytes
    gzipped: bytes
    media_type: bytes
    digest: str
    cache_control: bytes

    @classmethod
    def of(cls, name: str, body: bytes, cache_control: bytes) -> Asset:
        """Return a file by its name and bytes."""
        # The same bytes give the same file, at whatever time they are compressed.
        return cls(body, gzip.compress(body, 9, mtime=0), MEDIA_TYPES[Path(name).suffix], _digest(body), cache_control)

    def form(self, accept_encoding: bytes) -> Form:
        """Return the form for a browser that accepts such codings: each has a strong tag of its own.

        Args:
            accept_encoding: The request's Accept-Encoding; empty where it has none.
        """
        tag = self.digest.encode()
        fields = {**GUARDS, b"cache-control": self.cache_control, b"vary": b"accept-encoding"}
        if takes_gzip(accept_encoding.decode("latin-1")):
            return Form(self.gzipped, b"gzip", b'"%b-gzip"' % tag, fields)
        return Form(self.body, b"", b'"%b"' % tag, fields)


@frozen
class Page:
    """The page.

    Attributes:
        index: What a browser opens.
        directory: The name of the directory of all other files.
        assets: These, by their names.
    """

    index: Asset
    directory: str
    assets: Mapping[str, Asset]

    @property
    def wire_bytes(self) -> int:
        """How much a browser that has nothing yet is sent, in bytes, without header fields."""
        return sum(len(each.gzipped) for each in (self.index, *self.assets.values()))


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a value of Accept-Encoding allows gzip by its name (RFC 9110, section 12.5.3)."""
    for each in accept_encoding.lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


@cache
def page(context: str = "") -> Page:
    """Read the page.

    Args:
        context: What the page calls the kdm it shows; empty for the host that serves it.

    Returns:
        The page. The files are read once in a process.
    """
    files = {path.name: path.read_bytes() for path in sorted(_ROOT.iterdir()) if path.suffix in MEDIA_TYPES}
    index = files.pop(INDEX)
    directory = _digest(index, *(part for name, body in files.items() for part in (name.encode(), body)))
    preloads = "".join(
        f'<link rel="modulepreload" href="{BASE}/{directory}/{name}">\n' for name in files if name.endswith(".js")
    )
    values = {"{directory}": f"{BASE}/{directory}", "{preloads}": preloads, "{context}": escape(context)}
    text = index.decode()
    for placeholder, value in values.items():
        text = text.replace(placeholder, value)
    assets = {name: Asset.of(name, body, IMMUTABLE) for name, body in files.items()}
    return Page(Asset.of(INDEX, text.encode(), REVALIDATED), directory, assets)


def _digest(*parts: bytes) -> str:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(b"%d:" % len(part))
        digest.update(part)
    return digest.hexdigest()
