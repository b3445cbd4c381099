"""What a repository may lack: a flag on its test class takes the tests away that need it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

_T = TypeVar("_T", bound=Callable[..., Any])


class Ability(enum.StrEnum):
    """Something that the port asks for, and that not every home of Deployments can do."""

    COMPARE = "compare"
    """Writes can expect a count or a uid, and the home judges it in one step with the write."""
    DRY_RUN = "dry run"
    """Writes can be tried without being stored."""
    ANNOTATE = "annotate"
    """What only kdm knows of a Deployment is shown with it."""
    OWNERS = "owners"
    """Whatever else changes a Deployment's count is shown with it."""


def needs(*abilities: Ability) -> Callable[[_T], _T]:
    """Mark a test that needs abilities."""

    def mark(test: _T) -> _T:
        test.__dict__["needs"] = frozenset(abilities)
        return test

    return mark


class Suite:
    """A part of the contract.

    Attributes:
        lacks: What the repository under test cannot do. Set it on the test class; nothing else need be overridden.
    """

    lacks: ClassVar[frozenset[Ability]] = frozenset()

    def __init_subclass__(cls) -> None:
        """Leave out what needs an ability that is lacking."""
        super().__init_subclass__()
        for name in dir(cls):
            if not cls.lacks.isdisjoint(getattr(getattr(cls, name), "needs", ())):
                setattr(cls, name, None)
