"""URLs as Go's ``net/url`` parses them, as far as servers and proxies need it."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

from attrs import field, frozen

DEFAULT_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_AUTHORITY: Final = re.compile(r"//([^/?#]*)(.*)", re.DOTALL)
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%25[^\]\s]+)?\]|[^\s:\[\]<>\"\\^`{|}%]*)(?::([0-9]*))?")
_USER: Final = re.compile(r"(?:[A-Za-z0-9._~:!$&'()*+,;=@-]|%[0-9A-Fa-f]{2})*")
_MAX_PORT: Final = 65535


@frozen
class Url:
    """A URL's parts. ``host`` has no brackets; ``port`` is None where there is none.

    ``username`` and ``password`` are None where there are none.
    """

    scheme: str
    host: str
    port: int | None
    path: str
    rest: str = field(default="", repr=False)  # query and fragment
    username: str | None = field(default=None, repr=False)
    password: str | None = field(default=None, repr=False)

    @property
    def authority(self) -> str:
        """The host and, where there is one, the port, without user and password."""
        host = f"[{self.host.replace('%', '%25')}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"

    @property
    def effective_port(self) -> int | None:
        """The port, or the scheme's."""
        return DEFAULT_PORTS.get(self.scheme) if self.port is None else self.port

    @property
    def base(self) -> str:
        """The URL without user, password, query, fragment and trailing slashes."""
        return f"{self.scheme}://{self.authority}{self.path.rstrip('/')}"


def parse_url(text: str) -> Url | None:
    """Return a URL's parts, or None where Go's ``url.Parse`` fails, or finds no scheme or no host."""
    if not text or any(ord(each) < 0x20 or ord(each) == 0x7F for each in text):
        return None
    scheme = _SCHEME.fullmatch(text)
    authority = _AUTHORITY.fullmatch(scheme[2]) if scheme else None
    if scheme is None or authority is None:
        return None
    user, at, place = authority[1].rpartition("@")
    host = _HOST.fullmatch(place)
    if host is None or not host[1] or not _USER.fullmatch(user):
        return None
    if host[2] and int(host[2]) > _MAX_PORT:
        return None
    path, rest = re.fullmatch(r"([^?#]*)(.*)", authority[2], re.DOTALL).groups()  # type: ignore[union-attr] # matches all
    if re.search(r"%(?![0-9A-Fa-f]{2})", path):
        return None
    name, colon, password = user.partition(":")
    return Url(
        scheme=scheme[1].lower(),
        host=unquote(host[1].strip("[]")) if host[1].startswith("[") else host[1],
        port=int(host[2]) if host[2] else None,
        path=path,
        rest=rest,
        username=unquote(name) if at else None,
        password=unquote(password) if at and colon else None,
    )
