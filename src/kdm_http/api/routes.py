"""The table of routes: every request the API answers is one row of it.

Router, fast path, OpenAPI, Allow, entity tags and the labels of metrics and traces follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Final

import msgspec

from kdm_core import Caller, DeploymentService
from kdm_http.api import openapi, page, rfd001, rfd156
from kdm_http.api.health import namespace_is_valid
from kdm_http.api.route import Request, Route
from kdm_http.api.v2 import routes as v2
from kdm_http.api.v2.dialect import V2
from kdm_http.api.v2.openapi import describe_all


def get_description(service: DeploymentService, _: Caller, request: Request) -> msgspec.Raw:
    """Describe this API."""
    namespace_is_valid(request)
    return _encoded(openapi.describe, service.max_replicas)


def get_whole_description(service: DeploymentService, _: Caller, __: Request) -> msgspec.Raw:
    """Describe all versions of this API."""
    return _encoded(describe_all, service.max_replicas)


@cache  # a process has one service
def _encoded(describe: Callable[[Iterable[Route], int], openapi.Json], max_replicas: int) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(describe(ROUTES, max_replicas)))


ROUTES: Final = (
    *rfd001.ROUTES,
    *rfd156.ROUTES,
    Route("GET", "/api/v1/openapi.json", rfd156.RFD156, "Describe", get_description),
    *v2.ROUTES,
    Route("GET", f"{v2.BASE}/openapi.json", V2, "Describe", get_whole_description, query=()),
    *page.ROUTES,
)


def allowed(methods: Collection[str]) -> str:
    """Return the value of the field Allow of a path: HEAD goes with GET alone, OPTIONS with any method."""
    return ", ".join(sorted({"OPTIONS", *methods, *({"HEAD"} if "GET" in methods else ())}))


ALLOWED: Final = {
    template: allowed({each.method for each in ROUTES if each.template == template})
    for template in {route.template for route in ROUTES}
}
"""The value of the field Allow, for each path template."""

DIALECT_OF: Final[Mapping[str, str]] = {route.template: route.dialect.name for route in ROUTES}
"""The name of the dialect of each path template."""


def dialect_of(template: str) -> str:
    """Return the name of the dialect of a path template; "none" for "", where no route matched."""
    return DIALECT_OF.get(template, "none")
