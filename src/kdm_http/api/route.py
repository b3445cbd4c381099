"""What a row of the table of routes is, and what its endpoint takes and returns.

An endpoint is a plain function of the service, the caller and the request. It returns what to show, or raises.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from attrs import Factory, field, frozen
from litestar.types import ASGIApp

from kdm_core import Caller, Deployment, DeploymentService, Query
from kdm_http.api.errors import STATUS, Problem, error_body
from kdm_http.api.patience import Patience
from kdm_http.api.progress import Progress

Name = Annotated[str, "a Deployment's name"]
Count = Annotated[int, "a replica count"]
AskedCount = Annotated[int, "a replica count that may be asked for"]
"""What a field of a body can hold, as OpenAPI has it."""

Fields = Iterable[tuple[bytes, bytes]]
"""A request's header fields, with names in lower case."""

_parameters_of: Final = re.compile(r"\{(\w+)\}").findall


@frozen(eq=False)
class Dialect:
    """A version of the API with a form of its own. It is one module: its bodies, its endpoints and its rows.

    Attributes:
        name: What metrics, traces and OpenAPI call it.
        statuses: The HTTP status of each error code.
        error_body: Makes the body of an error.
        error_type: The media type of that body.
        timeout_error: Makes the error of a request that took too long, given how long it could take, in seconds; None
            where the server answers in the application's place.
        encoded_slashes: Whether ``%2F`` separates segments of a path as ``/`` does. Where it does, a name that a client
            has encoded can lead to another route.
    """

    name: str
    statuses: Mapping[str, int] = field(default=STATUS, repr=False)
    error_body: Callable[[Problem], object] = error_body
    error_type: bytes = b"application/json"
    timeout_error: Callable[[float], Exception] | None = None
    encoded_slashes: bool = True


async def _no_body() -> bytes:
    return b""


class Request(NamedTuple):
    """What an endpoint is given, once the path and the query are read.

    Attributes:
        path: The values of the path template's parameters.
        query: The query parameters, each of which the route allows.
        fields: The header fields.
        read_body: Reads the body.
        patience: How long the request may take; None on the fast path, where nothing waits.
        progress: Where to say how it gets on; None where the client did not ask for that.
    """

    path: Mapping[str, str]
    query: Mapping[str, str]
    fields: Fields
    read_body: Callable[[], Awaitable[bytes]] = _no_body
    patience: Patience | None = None
    progress: Progress | None = None


class Listing(NamedTuple):
    """A list of Deployments, for an answer with an entity tag.

    Attributes:
        deployments: What is listed.
        show: How the dialect shows one.
        namespace: Where they are; "*" for everywhere.
        whole: Whether this is all there is, nothing left out.
        enclose: Makes the answer of the encoded list and its entity tag; None where the list is the answer.
    """

    deployments: tuple[Deployment, ...]
    show: Callable[[Deployment], msgspec.Struct]
    namespace: str
    whole: bool
    enclose: Callable[[bytes, bytes], Enclosed] | None = None


class Enclosed(NamedTuple):
    """A list within what is said of it.

    Attributes:
        body: The body.
        etag: Its entity tag.
        fields: Header fields as they are sent, each with the end of its line.
    """

    body: bytes
    etag: bytes
    fields: bytes


class Found(NamedTuple):
    """One Deployment, for an answer that follows from it alone, and so can be given again while it is the same.

    Attributes:
        deployment: What was found.
        show: How the dialect shows it.
        namespace: Where it was looked for; "*" for everywhere.
        tag: The entity tag of the answer, as the field ``ETag`` has it; empty for none.
        varying: Returns the header fields that change with time, as they are sent; None where there are none.
    """

    deployment: Deployment
    show: Callable[[Deployment], msgspec.Struct]
    namespace: str
    tag: bytes = b""
    varying: Callable[[], bytes] | None = None


class Reply(NamedTuple):
    """What to show, and what to say of it.

    Attributes:
        content: What is shown: encoded already where it is bytes.
        status: The HTTP status.
        retry_after_s: When to try again, in seconds; 0 leaves the field out.
        fields: Header fields as they are sent, each with the end of its line.
        media_type: Of the content.
    """

    content: msgspec.Struct | bytes
    status: int = 200
    retry_after_s: int = 0
    fields: bytes = b""
    media_type: bytes = b"application/json"


class Watch(NamedTuple):
    """What is to be streamed.

    Attributes:
        query: Which Deployments.
        bookmarks: Whether to say at once how far the cluster has been seen, whenever that has changed.
    """

    query: Query
    bookmarks: bool = False


class File(NamedTuple):
    """A file, for an answer with an entity tag.

    Attributes:
        body: Its bytes, compressed or not.
        media_type: Of the bytes before they were compressed.
        tag: Its entity tag, as the field ``ETag`` has it.
        fields: Header fields as they are sent, each with the end of its line: also where the client has the file.
        encoding: How the bytes are compressed; empty for not at all.
    """

    body: bytes
    media_type: bytes
    tag: bytes
    fields: bytes
    encoding: bytes = b""


class Stream(NamedTuple):
    """An answer that takes its time: an ASGI application sends it."""

    respond: ASGIApp


Endpoint = Callable[[DeploymentService, Caller, Request], Any]
"""Returns a struct, a :class:`Listing`, :class:`Found`, :class:`Reply`, :class:`File`, :class:`Stream` or
:class:`Watch`, or an awaitable of one; raises what went wrong. A plain function may return an awaitable, a stream or a
watch only where something is asked for that is not in ``at_once_query``."""


@frozen(eq=False)
class Route:
    """One row of the table.

    Attributes:
        method: The HTTP method. HEAD and OPTIONS follow from it.
        template: The path, parameters in braces.
        dialect: Whose form the answer and the errors have.
        operation: What it does: the same word in every dialect that does it.
        endpoint: What answers.
        shows: What the answer is made of; only the description of the API asks for it.
        tagged: Whether successful answers have an entity tag; the endpoint then returns a :class:`Listing`.
        query: The query parameters that are allowed.
        at_once_query: Those with any one of which the connection may call the endpoint directly.
        replayable: Whether it is a write that a client may send again under the same Idempotency-Key.
        progressive: Whether a client may have it streamed how the request gets on.
        at_once: Whether it is a read that never waits, so that the connection may call the endpoint directly.
    """

    method: Literal["GET", "POST", "PUT"]
    template: str
    dialect: Dialect
    operation: str
    endpoint: Endpoint
    shows: type[msgspec.Struct] = msgspec.Struct
    tagged: bool = field(default=False, kw_only=True)
    query: tuple[str, ...] = field(default=("namespace",), kw_only=True)
    at_once_query: tuple[str, ...] = field(default=Factory(lambda self: self.query, takes_self=True), kw_only=True)
    replayable: bool = field(default=False, kw_only=True)
    progressive: bool = field(default=False, kw_only=True)
    at_once: bool = field(
        init=False,
        default=Factory(
            lambda self: self.method == "GET" and not inspect.iscoroutinefunction(self.endpoint), takes_self=True
        ),
    )

    @property
    def parameters(self) -> list[str]:
        """The path's parameters, in order."""
        return _parameters_of(self.template)
