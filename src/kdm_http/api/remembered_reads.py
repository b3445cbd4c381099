"""Answers about one Deployment that are kept: given again, they cost no parsing, no look-up of rights and no encoding.

An answer is kept with the Deployment and the policy that it follows from. It is given again while the repository has
that very object and the service that very policy: both are immutable, and another one takes their place with a change.
"""

from __future__ import annotations

from time import monotonic
from typing import Final, NamedTuple

from kdm_core import DeploymentService, Policy
from kdm_http.api.answered import Answered, Counter, Slot
from kdm_http.api.dispatch import Dispatcher
from kdm_http.api.etags import is_known
from kdm_http.api.route import Found
from kdm_http.request_id import new_request_id
from kdm_http.server.application import Fields, SomeFields
from kdm_http.server.plain_reads import STATUS_LINES

_CONDITION: Final = b"if-none-match"
_PASSING: Final = frozenset({b"x-request-id", b"traceparent", b"tracestate", b"if-match"})
"""Header fields that are counted or given back, and usually differ each time: the same header will not come again."""


class _Form(NamedTuple):
    """The bytes of an answer, between which come the date, what varies, and the request's id; and what counts it."""

    status_line: bytes
    head: bytes
    end: bytes
    slot: Slot


class RememberedRead:
    """One answer; see :class:`~kdm_http.server.application.Again`. Belongs to one event loop.

    Args:
        reads: What all of them have in common.
        found: What it shows.
        answered: What observers get to know of it.
    """

    __slots__ = ("_answered", "_conditional", "_found", "_plain", "_policy", "_reads")

    def __init__(self, reads: RememberedReads, found: Found, answered: Answered) -> None:
        self._reads = reads
        self._found = found
        self._answered = answered
        self._policy: Policy = reads.service.policy
        self._plain: _Form | None = None
        self._conditional: dict[bool, _Form] = {}  # by whether the client knows the answer already

    def answer(self, matters: SomeFields, started_s: float, default_head: bytes) -> bytes | None:
        """Answer again, unless something has changed."""
        reads = self._reads
        deployment, _, namespace, tag, varying = self._found
        if not reads.service.gives_again(deployment, namespace, self._policy):
            return None
        form = self._conditional.get(is_known(tag, matters)) if matters else self._plain
        status_line, head, end, slot = form or self._form(matters)
        if varying is not None:
            head = b"".join((head, varying(), reads.tail))
        response = b"".join((status_line, default_head, head, new_request_id(), end))
        slot.add(monotonic() - started_s)
        return response

    def _form(self, matters: SomeFields) -> _Form:
        reads, found, answered = self._reads, self._found, self._answered
        status, head, body, _ = reads.dispatcher.found(found, matters)
        head = head if found.varying is not None else head + reads.tail
        end = b"\r\n\r\n" + (b"" if answered.method == "HEAD" else body)
        slot = reads.counter.slot(answered._replace(status=status, fields=list(matters)))
        form = _Form(STATUS_LINES[status], head, end, slot)
        if matters:
            self._conditional[is_known(found.tag, matters)] = form
        else:
            self._plain = form
        return form


class RememberedReads:
    """Remembers answers.

    Args:
        service: The use cases.
        dispatcher: Makes the answers.
        counter: Counts them.
        tail: The header fields that every answer ends with, but for the request's id.

    Attributes: as the arguments.
    """

    def __init__(self, service: DeploymentService, dispatcher: Dispatcher, counter: Counter, tail: bytes) -> None:
        self.service = service
        self.dispatcher = dispatcher
        self.counter = counter
        self.tail = tail

    def remember(
        self, found: Found, answered: Answered, fields: Fields
    ) -> tuple[RememberedRead, SomeFields] | tuple[None, SomeFields]:
        """Return the answer to give again, and the header fields it depends on; None if the header will not come again.

        Args:
            found: What it shows.
            answered: What observers get to know of it.
            fields: The request's header fields, with names in lower case.
        """
        if any(name in _PASSING for name, _ in fields):
            return None, ()
        kept = answered._replace(path="", fields=(), request_id="")
        return RememberedRead(self, found, kept), tuple(each for each in fields if each[0] == _CONDITION)
