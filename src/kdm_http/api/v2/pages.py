"""The token of the next page: where it begins, and for which filters it was given.

It is no secret and gives no right: whoever makes one up sees what a list would show them anyway. Nothing is kept for
it, so every kdm understands every other's.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import blake2b
from typing import Final, Self, TypeVar

import msgspec

from kdm_core import DeploymentRef, InvalidQuery
from kdm_http.api.errors import Refused

T = TypeVar("T")

VERSION: Final = 1
"""Of the token's form. A kdm that finds another one asks the client to begin again."""

MAX_TOKEN_LENGTH: Final = 1024
"""The longest token that is read, in characters. A name has at most 253, a namespace 63."""


class Continue(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """What a token holds.

    Attributes:
        version: Of its form.
        namespace: The namespace of the last Deployment before the next page.
        name: Its name.
        filters: A digest of the list's filters.
        resource_version: What the first page showed; "" where a page since then showed something else.
    """

    version: int
    namespace: str
    name: str
    filters: str
    resource_version: str

    @classmethod
    def read(cls, token: str, filters: str) -> Self:
        """Read a token.

        Args:
            token: What the client sent.
            filters: A digest of the filters that it asks for now.

        Raises:
            Refused: It is not readable.
            InvalidQuery: It belongs to other filters.
        """
        found = decoded(token, cls)
        try:
            DeploymentRef.parse(found.namespace, found.name)
        except ValueError as error:
            raise unreadable() from error
        if found.version != VERSION:
            raise unreadable()
        if found.filters != filters:
            raise InvalidQuery(
                "continue: the token belongs to other filters; send it with the same path, labelSelector and state as "
                "the page that it came from"
            )
        return found

    @property
    def after(self) -> DeploymentRef:
        """The last Deployment before the next page."""
        return DeploymentRef(self.namespace, self.name)

    def __str__(self) -> str:
        return encoded(self)


def encoded(token: msgspec.Struct) -> str:
    """Return a token as it is sent."""
    return urlsafe_b64encode(msgspec.json.encode(token)).decode().rstrip("=")


def decoded(token: str, shape: type[T]) -> T:
    """Return what a token holds.

    Args:
        token: What the client sent.
        shape: What it must hold.

    Raises:
        Refused: It is not readable.
    """
    if len(token) > MAX_TOKEN_LENGTH:
        raise unreadable()
    try:
        return msgspec.json.decode(urlsafe_b64decode(token.encode("ascii") + b"=" * (-len(token) % 4)), type=shape)
    except (ValueError, msgspec.DecodeError) as error:
        raise unreadable() from error


def unreadable() -> Refused:
    """Return the error of a token that no kdm of this version gives."""
    message = "continue: this is no token of this kdm; begin the list again, without it"
    return Refused("continue-unreadable", 410, message)


def digest_of(*filters: str) -> str:
    """Return a digest of a list's filters."""
    return blake2b("\0".join(filters).encode(), digest_size=6).hexdigest()
