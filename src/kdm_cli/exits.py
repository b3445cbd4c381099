"""How a command ends: its exit codes, and the error that carries one with its line of text."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from kdm_core.copyable import Copyable


class Exit(IntEnum):
    """The exit codes of the commands that ask a kdm; ``MEANINGS`` says what each means. They never change it."""

    DONE = 0
    OTHER = 1
    USAGE = 2
    NOT_FOUND = 3
    DENIED = 4
    PRECONDITION = 5
    REFUSED = 6
    UNAVAILABLE = 7
    AMBIGUOUS = 8
    SUPERSEDED = 10
    BLOCKED = 11
    STALLED = 12
    DELETED = 13
    PARTLY = 14
    INTERRUPTED = 15
    TIMEOUT = 124


MEANINGS: Final = {
    Exit.DONE: "What was asked for is so.",
    Exit.OTHER: "It could not be done, for a reason that no other code names.",
    Exit.USAGE: "It was asked for wrongly: an argument, a context, a count that is never allowed.",
    Exit.NOT_FOUND: "There is no such Deployment, or kdm does not watch its namespace.",
    Exit.DENIED: "kdm does not let this user do this, or does not accept the client certificate.",
    Exit.PRECONDITION: "The Deployment is not as expected. Nothing was written.",
    Exit.REFUSED: "A bound, an owner or the cluster refuses the change. Nothing was written.",
    Exit.UNAVAILABLE: "kdm or the cluster could not be reached or could not serve. Nothing was written.",
    Exit.AMBIGUOUS: "A change was sent, and whether it was made is not known.",
    Exit.SUPERSEDED: "Somebody else set another count while the command waited.",
    Exit.BLOCKED: "The cluster does not create the Pods: a quota, admission.",
    Exit.STALLED: "The rollout passed its progress deadline.",
    Exit.DELETED: "The Deployment was deleted while the command waited.",
    Exit.PARTLY: "Of several Deployments some came through and others did not.",
    Exit.INTERRUPTED: "The command was interrupted, or could not find out what came of the change. The change goes on.",
    Exit.TIMEOUT: "The Pods had not followed in time. The change goes on.",
}
"""What each code means, for the documentation."""

OUTCOMES: Final = {
    "done": Exit.DONE,
    "superseded": Exit.SUPERSEDED,
    "blocked": Exit.BLOCKED,
    "stalled": Exit.STALLED,
    "deleted": Exit.DELETED,
    "timeout": Exit.TIMEOUT,
    "unknown": Exit.INTERRUPTED,
    "interrupted": Exit.INTERRUPTED,
}
"""The exit code of each outcome of a wait."""


class CommandError(Copyable):
    """A command cannot go on. Its text is one line: what is wrong, and what is allowed or to be done.

    Attributes:
        exit: The exit code.
        code: kdm's own code of the problem; "" where kdm did not answer with one.
        passing: Whether the same may succeed later, without anybody changing anything.
    """

    def __init__(
        self,
        text: str,
        exit: Exit = Exit.OTHER,  # noqa: A002 - the attribute's name
        code: str = "",
        *,
        passing: bool = False,
    ) -> None:
        super().__init__(text)
        self.exit = exit
        self.code = code
        self.passing = passing


def of_several(exits: list[Exit]) -> Exit:
    """Return the exit code for several Deployments: what all have in common, else "partly"."""
    return exits[0] if len(set(exits)) == 1 else Exit.PARTLY if exits else Exit.DONE
