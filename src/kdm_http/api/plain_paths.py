"""Finds the route of a path in its usual spelling, without Litestar's router.

What Litestar does for a request besides, with guards, dependencies and hooks that kdm does not have, is a fifth of
kdm's own part of a write. Any other spelling, an unusual Host and what no route matches stay Litestar's.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.types import HTTPScope, Receive

from kdm_http.api.errors import MAX_BODY_BYTES, BadRequest
from kdm_http.api.route import Route

REMEMBERED_PATHS: Final = 4096
"""How many paths are remembered with what they mean."""

LONGEST_PATH: Final = 512
"""The longest path that is looked at: a name has at most 253 characters, a namespace at most 63."""

_NAME: Final = r"([a-z0-9][a-z0-9.-]*)"
_PLAIN_HOST: Final = re.compile(rb"[A-Za-z0-9.-]+(?::[0-9]+)?").fullmatch


class Asked(NamedTuple):
    """A request whose route is known.

    Attributes:
        scope: Its scope, with ``path_params``.
        receive: Its ASGI channel.
        body: Reads its body; may be called again.
    """

    scope: HTTPScope
    receive: Receive
    body: Callable[[], Awaitable[bytes]]

    @classmethod
    def plainly(cls, scope: HTTPScope, receive: Receive) -> Asked:
        """Make it of what ASGI gives."""
        return cls(scope, receive, _Body(scope, receive).read)


class PlainPaths:
    """Knows the paths of a table of routes, in their usual spelling alone.

    Args:
        routes: The table.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[str, dict[str, Route]] = {}
        for route in routes:
            self._routes.setdefault(route.template, {})[route.method] = route
        self._spellings = [
            (template, re.compile(re.sub(r"\\\{\w+\\\}", lambda _: _NAME, re.escape(template))).fullmatch)
            for template in self._routes
        ]
        self._find = lru_cache(REMEMBERED_PATHS)(self._search)

    def find(self, scope: HTTPScope) -> tuple[Route, Mapping[str, str]] | None:
        """Return the route of a request and the values of its path's parameters; None where that is for the router."""
        if len(scope["path"]) > LONGEST_PATH:
            return None
        host = next((value for name, value in scope["headers"] if name == b"host"), None)
        if host is not None and not _PLAIN_HOST(host):
            return None
        return self._find(scope["method"], scope["path"])

    def _search(self, method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
        found = [(template, match) for template, spelling in self._spellings if (match := spelling(path))]
        if len(found) != 1:  # which of several is meant is for the router to say
            return None
        template, match = found[0]
        route = self._routes[template].get(method)
        return None if route is None else (route, dict(zip(route.parameters, match.groups(), strict=True)))


class _Body:
    """A body, read to the same limit and with the same errors as Litestar's."""

    def __init__(self, scope: HTTPScope, receive: Receive) -> None:
        self._scope = scope
        self._receive = receive
        self._read: bytes | None = None

    async def read(self) -> bytes:
        """Return the body.

        Raises:
            BadRequest: The client left before its end.
            RequestEntityTooLarge: It is larger than :data:`MAX_BODY_BYTES`.
        """
        if self._read is None:
            announced = next((value for name, value in self._scope["headers"] if name == b"content-length"), b"0")
            if int(announced) > MAX_BODY_BYTES:
                raise RequestEntityTooLarge
            body, more = b"", True
            while more:
                event = await self._receive()
                if event["type"] != "http.request":
                    raise BadRequest("the connection ended before the body did")
                body += event["body"]
                if len(body) > MAX_BODY_BYTES:
                    raise RequestEntityTooLarge
                more = event.get("more_body", False)
            self._read = body
        return self._read
