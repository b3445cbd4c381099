"""What an error of kdm means to the command: one line for a person, an exit code for a program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from kdm_cli.exits import CommandError, Exit

_CODES: Final = {
    "contended": Exit.UNAVAILABLE,
    "idempotency-key-in-flight": Exit.AMBIGUOUS,
    "not-supported": Exit.OTHER,
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
    503: Exit.UNAVAILABLE,
}

_NOT_OFFERED: Final = frozenset({"no-such-route", "method-not-allowed"})


class Problem(CommandError):
    """kdm answered with an error.

    Attributes:
        status: The HTTP status.
        body: The problem as kdm sent it; empty where it sent none.
        retry_after_s: When kdm says to try again, in seconds; None where it does not.
    """

    def __init__(self, status: int, body: Mapping[str, Any], retry_after_s: float | None) -> None:
        self.status = status
        self.body = body
        self.retry_after_s = retry_after_s
        super().__init__(sentence(status, body), exit_of(status, body), str(body.get("code", "")))

    @property
    def may_be_retried(self) -> bool:
        """Whether the same request may succeed later, and nothing was written."""
        return self.body.get("retryable") is True and self.body.get("written", False) is False


def exit_of(status: int, body: Mapping[str, Any]) -> Exit:
    """Return the exit code of a problem.

    Args:
        status: The HTTP status.
        body: The problem.
    """
    code = body.get("code")
    if "written" in body and body["written"] is None:
        return Exit.AMBIGUOUS
    if code in _CODES:
        return _CODES[code]
    if code in _NOT_OFFERED:
        return Exit.OTHER
    if status in _STATUSES:
        return _STATUSES[status]
    return Exit.UNAVAILABLE if status in {502, 504} else Exit.OTHER


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


def _extras(body: Mapping[str, Any], text: str) -> Sequence[str]:
    found = []
    allowed = body.get("allowed")
    if isinstance(allowed, list) and allowed and not all(str(each) in text for each in allowed):
        found.append(f"; allowed: {', '.join(map(str, allowed))}")
    remedies = [each.get("remedy") for each in body.get("owners") or () if isinstance(each, dict)]
    found += [f"; {each}" for each in dict.fromkeys(remedies) if each and each not in text]
    if body.get("code") == "owner-conflict" and "--override" not in text:
        found.append("; --override writes all the same, where the policy lets you")
    return found
