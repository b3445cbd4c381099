"""The page's rows of the table of routes: files, which anybody with a client certificate may have."""

from __future__ import annotations

from typing import Final

from attrs import evolve

from kdm_core import Caller, DeploymentService
from kdm_http.api.errors import Refused
from kdm_http.api.route import File, Request, Route
from kdm_http.api.v2.dialect import V2
from kdm_http.page.files import BASE, Asset, page

PAGE: Final = evolve(V2, name="page")
"""Errors have the form of API v2's."""


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


def _file(asset: Asset, request: Request) -> File:
    form = asset.form(b",".join(value for name, value in request.fields if name == b"accept-encoding"))
    fields = b"".join(b"%b: %b\r\n" % each for each in form.fields.items())
    return File(form.body, asset.media_type, form.tag, fields, form.encoding)


ROUTES: Final = (
    Route("GET", BASE, PAGE, "GetPage", get_index, query=()),
    Route("GET", f"{BASE}/{{directory}}/{{file}}", PAGE, "GetPageFile", get_asset, query=()),
)
