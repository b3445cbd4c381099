"""What the API server's answers and watch events say, whatever their encoding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Generic, NamedTuple

from kdm_adapters.cache.watched import W

INITIAL_EVENTS_END: Final = "k8s.io/initial-events-end"
"""The annotation, with the value "true", of the bookmark that ends a watch-list's initial events (KEP-3157)."""

UNREACHABLE: Final = "Unreachable"
"""The reason of a failure without an answer, where the request was not even sent."""

UNANSWERED: Final = "Unanswered"
"""The reason of a failure without an answer, where the request may have been carried out."""

TIMED_OUT: Final = "TimedOut"
"""The same, where time ran out."""


class Event(NamedTuple, Generic[W]):
    """An object was added, modified or deleted."""

    kind: str
    deployment: W


class Bookmark(NamedTuple):
    """Everything up to this version has been sent."""

    resource_version: str
    initial_events_end: bool = False


class Undecodable(NamedTuple):
    """An object that cannot be decoded, although it is complete. The fields hold what can be read of it."""

    detail: str
    resource_version: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""

    def __str__(self) -> str:
        return f"'{self.namespace}/{self.name}' at resourceVersion '{self.resource_version}': {self.detail}"


class Page(NamedTuple, Generic[W]):
    """A page of a list, or a part of one. ``undecodable`` are the items that could not be understood."""

    deployments: Sequence[W]
    resource_version: str
    continue_token: str = ""
    undecodable: Sequence[Undecodable] = ()
    last: bool = True  # of the parts of its page


def page(found: Iterable[W | Undecodable], resource_version: str, continue_token: str, *, last: bool) -> Page[W]:
    """Return a page (or part of one) of what was found."""
    objects: list[W] = []
    undecodable: list[Undecodable] = []
    for each in found:
        if isinstance(each, Undecodable):
            undecodable.append(each)
        else:
            objects.append(each)
    return Page(objects, resource_version, continue_token, undecodable, last=last)


class Subject(NamedTuple):
    """Which object a refusal is about: ``details`` of Kubernetes' ``Status``. All empty where it does not say."""

    group: str = ""
    kind: str = ""
    name: str = ""


class Failure(NamedTuple):
    """A request was refused, an ERROR event arrived, or there was no answer at all (``code`` 0).

    The fields are those of Kubernetes' ``Status``; ``causes`` holds each cause's reason and message. Where the answer
    is no ``Status``, ``foreign`` is set: it came from something between kdm and the API server, or from outside
    the server's API. Its code then says little: see ADR 0017. ``message`` is fit to be shown.
    """

    code: int
    reason: str
    message: str
    causes: tuple[tuple[str, str], ...] = ()
    retry_after_s: float = 0.0
    about: Subject = Subject()
    foreign: bool = False

    @property
    def unreached(self) -> bool:
        """Whether no answer arrived: refused, unreachable, unresolvable or timed out while connecting."""
        return self.code == 0

    @property
    def throttled(self) -> bool:
        """Whether the server asks for fewer requests. The API server does so without a ``Status``, too."""
        return self.code == 429 or self.reason == "TooManyRequests"

    @property
    def expired(self) -> bool:
        """Whether the resourceVersion or continue token asked for has been compacted away."""
        return not self.foreign and (self.code == 410 or self.reason in {"Expired", "Gone"})

    @property
    def too_large(self) -> bool:
        """Whether the server has not reached the resourceVersion asked for, in every encoding servers have used.

        As client-go's ``isTooLargeResourceVersionError``: a cause of its own since 1.18.6, a message before.
        """
        if self.foreign:
            return False
        if any(reason == "ResourceVersionTooLarge" for reason, _ in self.causes):
            return True
        text = "Too large resource version"
        timeout = self.code == 504 or self.reason == "Timeout"
        return timeout and (text in self.message or any(message == text for _, message in self.causes))
