"""What an error means to the command: one line for a person, an exit code for a program."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from kdm_adapters.remote.access import InvalidAccess
from kdm_adapters.remote.errors import problem_of
from kdm_adapters.remote.transport_errors import AnswerLost, Misdirected, NotAccepted, Untrusted
from kdm_cli.exits import CommandError, Exit
from kdm_core.errors import ClusterUnrecognized, KdmError

_CODES: Final = {
    "contended": Exit.UNAVAILABLE,
    "idempotency-key-in-flight": Exit.AMBIGUOUS,
    "not-supported": Exit.OTHER,
    "no-such-route": Exit.OTHER,
    "method-not-allowed": Exit.OTHER,
    "out-of-bounds": Exit.REFUSED,
    "owner-conflict": Exit.REFUSED,
    "write-forbidden": Exit.REFUSED,
}
"""The exit codes of problems whose status says something else."""

_STATUSES: Final = {
    400: Exit.USAGE,
    401: Exit.DENIED,
    403: Exit.DENIED,
    404: Exit.NOT_FOUND,
    408: Exit.UNAVAILABLE,
    409: Exit.PRECONDITION,
    412: Exit.PRECONDITION,
    413: Exit.USAGE,
    422: Exit.REFUSED,
    429: Exit.UNAVAILABLE,
    431: Exit.USAGE,
    502: Exit.UNAVAILABLE,
    503: Exit.UNAVAILABLE,
    504: Exit.UNAVAILABLE,
}

_OF_CLIENT: Final[tuple[tuple[type[KdmError], Exit], ...]] = (
    (InvalidAccess, Exit.USAGE),
    (NotAccepted, Exit.DENIED),
    (Untrusted, Exit.OTHER),
    (Misdirected, Exit.OTHER),
    (AnswerLost, Exit.AMBIGUOUS),
)
"""The exit codes of what goes wrong before kdm answers."""

_NOT_OFFERED: Final = frozenset({"no-such-route", "method-not-allowed"})


@contextmanager
def explained(*, read: bool = False) -> Iterator[None]:
    """Turn an error of a call into what it means to the command.

    Args:
        read: Whether the call can write nothing, so that nothing is ambiguous.

    Raises:
        CommandError: A call failed.
    """
    try:
        yield
    except KdmError as error:
        found = failure(error)
        if read and found.exit is Exit.AMBIGUOUS:
            foreign = isinstance(error, ClusterUnrecognized) and problem_of(error) is None
            found.exit = Exit.UNAVAILABLE if found.passing and not foreign else Exit.OTHER
        raise found from error
    except UnicodeEncodeError as error:
        raise CommandError("an argument or a variable is no text in UTF-8", Exit.USAGE) from error


def failure(error: KdmError) -> CommandError:
    """Return what an error of a call means to the command."""
    problem = problem_of(error)
    if problem is not None and problem.body:
        text, code = sentence(problem.status, problem.body), exit_of(problem.status, problem.body)
        return CommandError(text, code, problem.code, passing=error.retryable)
    foreign = isinstance(error, ClusterUnrecognized)
    if problem is not None and problem.status in _STATUSES and error.written is False and not foreign:
        return CommandError(str(error), _STATUSES[problem.status], passing=error.retryable)
    for kind, code in _OF_CLIENT:
        if isinstance(error, kind):
            return CommandError(str(error), code, passing=error.retryable)
    if problem is not None:  # an answer that is not kdm's
        return CommandError(str(error), Exit.AMBIGUOUS)
    if error.written is None:
        return CommandError(str(error), Exit.AMBIGUOUS, passing=error.retryable)
    return CommandError(f"{error}; nothing was written", Exit.UNAVAILABLE, passing=error.retryable)


def exit_of(status: int, body: Mapping[str, Any]) -> Exit:
    """Return the exit code of a problem.

    Args:
        status: The HTTP status.
        body: The problem.
    """
    if "written" in body and body["written"] is None:
        return Exit.AMBIGUOUS
    return _CODES.get(str(body.get("code"))) or _STATUSES.get(status, Exit.OTHER)


def sentence(status: int, body: Mapping[str, Any]) -> str:
    """Say on one line what was wrong, what is allowed, and which request it was."""
    if body.get("code") in _NOT_OFFERED:
        text = "this kdm does not offer that: it is of another version, or the feature is off (kdm whoami)"
    else:
        text = str(body.get("detail") or body.get("error") or f"kdm answered {status}")
    text += "".join(_extras(body, text))
    if request_id := body.get("requestId"):
        text += f" (request id {request_id})"
    return text


def _extras(body: Mapping[str, Any], text: str) -> Iterator[str]:
    allowed = body.get("allowed")
    if isinstance(allowed, list) and allowed and not all(str(each) in text for each in allowed):
        yield f"; allowed: {', '.join(map(str, allowed))}"
    owners = body.get("owners")
    remedies = [each.get("remedy") for each in (owners if isinstance(owners, list) else ()) if isinstance(each, dict)]
    for remedy in dict.fromkeys(remedies):
        if remedy and remedy not in text:
            yield f"; {remedy}"
    if body.get("code") == "owner-conflict":
        yield "; --override writes all the same, where the policy lets you"
