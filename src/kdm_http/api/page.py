"""The page's rows of the table of routes: files, which anybody with a client certificate may have."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from kdm_core import Caller, DeploymentService
from kdm_http.api.errors import Refused
from kdm_http.api.route import File, Request, Route
from kdm_http.api.v2.dialect import V2
from kdm_http.page.files import BASE, GUARDS, Asset, page

PAGE: Final = evolve(V2, name="page")
"""Errors have the form of API v2's."""

_GUARDS: Final = b"".join(b"%b: %b\r\n" % each for each in GUARDS.items())


def get_index(_: DeploymentService, __: Caller, request: Request) -> File:
    """Return the page."""
    return _file(page().index, request)


def get_asset(_: DeploymentService, __: Caller, request: Request) -> File:
    """Return a file of the page."""
    found = page()
    asset = found.assets.get(request.path["file"]) if request.path["directory"] == found.directory else None
    if asset is None:
        raise Refused("no-such-route", 404, f"the page has no such file; it may be newer than this one: open {BASE}")
    return _file(asset, request)


def takes_gzip(accept_encoding: str) -> bool:
    """Return whether a value of Accept-Encoding allows gzip by its name (RFC 9110, section 12.5.3)."""
    for each in accept_encoding.lower().split(","):
        coding, _, weight = each.partition(";")
        if coding.strip() == "gzip":
            return weight.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False


def _file(asset: Asset, request: Request) -> File:
    accepted = b",".join(value for name, value in request.fields if name == b"accept-encoding")
    compressed = takes_gzip(accepted.decode("latin-1"))
    return File(
        asset.gzipped if compressed else asset.body,
        asset.media_type,
        asset.tag(compressed=compressed),
        _GUARDS + b"cache-control: %b\r\nvary: accept-encoding\r\n" % asset.cache_control,
        b"gzip" if compressed else b"",
    )


ROUTES: Final = (
    Route("GET", BASE, PAGE, "GetPage", get_index, query=()),
    Route("GET", f"{BASE}/{{directory}}/{{file}}", PAGE, "GetPageFile", get_asset, query=()),
)
