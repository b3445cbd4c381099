"""The fast path: a plain read is answered where it arrives, without a task, a router or a queue.

The server asks it first. None means: call the application. What it takes on, it answers, errors included: it looks at
nothing but the spelling before it decides, so nothing has been audited, counted or logged when it declines.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from time import monotonic
from typing import Final, NamedTuple

from kdm_core import Caller
from kdm_http.api.answered import Answered, Counter, Observe
from kdm_http.api.dispatch import Dispatcher
from kdm_http.api.remembered_reads import RememberedReads
from kdm_http.api.route import Request, Route
from kdm_http.request_id import request_id_of
from kdm_http.server.application import Fields, Ready
from kdm_http.tls.peer import Peer

REMEMBERED_TARGETS: Final = 4096
"""How many targets are remembered with what they mean."""

LONGEST_TARGET: Final = 512
"""The longest target that is looked at, in bytes: a name has at most 253, a namespace at most 63."""

_NAME: Final = r"([a-z0-9][a-z0-9.-]*)"
_VALUE: Final = r"([a-z0-9-]+|\*)"


class _Meaning(NamedTuple):
    """What a target means."""

    route: Route
    parameters: Mapping[str, str]
    query_parameters: Mapping[str, str]
    path: str
    query: bytes


class PlainTargets:
    """Knows the targets of the routes that answer at once, in their usual spelling alone.

    Args:
        routes: The table.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes: dict[int, Route] = {}
        spellings: list[str] = []
        group = 1
        for route in routes:
            if route.at_once:
                self._routes[group] = route
                path = re.sub(r"\\\{\w+\\\}", lambda _: _NAME, re.escape(route.template))
                query = "|".join(route.at_once_query) or "(?!)"
                spellings.append(rf"({path}(?:\?({query})={_VALUE})?)")
                group += 1 + len(route.parameters) + 2
        self._match = re.compile("|".join(spellings).encode()).fullmatch
        self.find = lru_cache(REMEMBERED_TARGETS)(self._find)

    def _find(self, target: bytes) -> _Meaning | None:
        match = self._match(target)
        if match is None:
            return None
        assert match.lastindex is not None  # noqa: S101 - the outer group of the spelling that matched
        first = match.lastindex + 1
        route = self._routes[match.lastindex]
        names = route.parameters
        values = [match[first + number].decode() for number in range(len(names))]
        asked, value = match.group(first + len(names), first + len(names) + 1)
        path, _, query = target.partition(b"?")
        return _Meaning(
            route,
            dict(zip(names, values, strict=True)),
            {asked.decode(): value.decode()} if asked else {},
            path.decode(),
            query,
        )


class FastPath:
    """Answers plain reads.

    Args:
        routes: The table.
        dispatcher: Calls the endpoints.
        observers: Called with every answer. Where there is one, no answer is remembered.
        always: Header fields that every answer has.
        counter: Counts the answers; None for nobody.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        dispatcher: Dispatcher,
        observers: Iterable[Observe],
        always: Fields,
        counter: Counter | None = None,
    ) -> None:
        self._find = PlainTargets(routes).find
        self._answer = dispatcher.answer
        self._tail = _tail(always)
        self._tail_of_kept = _tail(each for each in always if each[0] != b"cache-control")
        self._reads = None
        if counter is not None and not observers:
            self._reads = RememberedReads(dispatcher.service, dispatcher, counter, self._tail)
        self._observers = (*([] if counter is None else [counter.count]), *observers)

    def __call__(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Ready | None:
        """Answer, or return None; see :data:`~kdm_http.server.application.AnswerAtOnce`."""
        if len(target) > LONGEST_TARGET:
            return None
        meaning = self._find(target)
        if meaning is None:
            return None
        started = monotonic()
        route, parameters, query_parameters, path, query = meaning
        identifier, identity = request_id_of(fields), peer.identity
        request = Request(parameters, query_parameters, fields)
        answer = self._answer(route, Caller(identity, identifier), request)
        seconds = monotonic() - started
        answered = Answered(
            method.decode(), route.template, answer.status, seconds, identity.user, path, query, fields, identifier
        )
        for observe in self._observers:
            observe(answered)
        own_head = answer.own_head
        tail = self._tail_of_kept if b"\ncache-control: " in own_head else self._tail
        ready = Ready(answer.status, b"%b%b%b\r\n\r\n" % (own_head, tail, identifier.encode()), answer.body)
        if self._reads is None or answer.found is None:
            return ready
        again, matters = self._reads.remember(answer.found, answered, fields)
        return ready._replace(again=again, matters=matters)


def _tail(always: Iterable[tuple[bytes, bytes]]) -> bytes:
    return b"".join(b"%b: %b\r\n" % each for each in always) + b"x-request-id: "
