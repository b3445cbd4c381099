"""Writes that are sent again only where that cannot do them twice.

Each has an ``Idempotency-Key``. It is sent again where kdm says that nothing was written and that it may work later, and
where no answer came and the key, or the request's own conditions, rule out a second change. Keys are kept by one kdm
process: a relative change whose answer was lost goes out again to the same process only.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any, Final

from kdm_cli.client.connection import Answer, Connection, ConnectionLost, Unreachable
from kdm_cli.client.problems import Problem
from kdm_cli.exits import CommandError, Exit

PAUSES_S: Final = (0.2, 0.5, 1.0, 2.0)
"""How long to pause before each further attempt, in seconds. The server may ask for more, up to the last of them."""


def write(
    connection: Connection,
    method: str,
    path: str,
    query: Mapping[str, str | None],
    body: Mapping[str, Any],
    *,
    repeatable: bool,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send a write, and again where that is safe.

    Args:
        connection: To which kdm. Where the write is not repeatable, something was asked on it before.
        method: The HTTP method.
        path: The path.
        query: The query parameters.
        body: The body.
        repeatable: Whether doing it twice comes to the same, by what it is or by its conditions.
        headers: More header fields.

    Raises:
        CommandError: It was not done, or that is not known: with ``Exit.AMBIGUOUS`` then.
    """
    fields = {**(headers or {}), "Idempotency-Key": f'"{secrets.token_hex(16)}"'}
    process = connection.process
    lost = False
    for pause_s in (*PAUSES_S, None):
        try:
            if lost and not repeatable and _process(connection) != process:
                raise _ambiguous(connection)
            return connection.call(method, path, query, body, fields)
        except Problem as problem:
            if pause_s is None or not (problem.may_be_retried or problem.code == "idempotency-key-in-flight"):
                raise _after_loss(connection, problem) if lost else problem from None
            pause_s = max(pause_s, min(problem.retry_after_s or 0.0, PAUSES_S[-1]))  # noqa: PLW2901 - of this attempt
        except ConnectionLost as error:
            lost = True
            if pause_s is None:
                raise _ambiguous(connection) from error
        except Unreachable as error:
            if not lost:
                raise
            if pause_s is None:
                raise _ambiguous(connection) from error
        time.sleep(pause_s)
    raise AssertionError  # pragma: no cover - the last attempt returns or raises


def _process(connection: Connection) -> str:
    """Return which process the connection leads to now."""
    connection.call("GET", "/api/v2")
    return connection.process


def _after_loss(connection: Connection, problem: Problem) -> CommandError:
    """Say what an error means after an attempt whose answer was lost: a failed condition may be our own change."""
    if problem.exit is Exit.PRECONDITION:
        return _ambiguous(connection)
    return problem


def _ambiguous(connection: Connection) -> CommandError:
    return CommandError(
        f"{connection.context.server}: the connection broke before the answer, so the change may have been made or not: "
        "look (kdm get) before you try again",
        Exit.AMBIGUOUS,
    )
