"""Whose page asks: a browser shows its user's certificate to any page that sends a request here, ours or not.

So a request that can change something is refused where a browser says that another site's page sent it. Programs
other than browsers send neither field. There is no CORS either: no other page can read an answer.
"""

from __future__ import annotations

from typing import Final

from kdm_http.api.errors import Refused
from kdm_http.api.route import Fields

_SITE: Final = b"sec-fetch-site"
_OURS: Final = b"same-origin"


def check_same_origin(fields: Fields, scheme: bytes) -> None:
    """Refuse what another site's page sends (Fetch Metadata, section 2.3, and RFC 6454, section 7).

    Args:
        fields: The request's header fields, with names in lower case.
        scheme: What the server is reached by: ``https``, or ``http`` on loopback.

    Raises:
        Refused: A browser sent it, and not for a page of this server.
    """
    host = b""
    origins, sites = [], []
    for name, value in fields:
        if name == b"host":
            host = value.lower()
        elif name == b"origin":
            origins.append(value.lower())
        elif name == _SITE:
            sites.append(value)
    if any(each != _OURS for each in sites) or any(each != b"%b://%b" % (scheme, host) for each in origins):
        raise Refused(
            "cross-origin",
            403,
            "a page of another origin sent this request, and only kdm's own page may change anything from a browser",
        )
