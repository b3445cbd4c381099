"""A change of more Deployments than one request may have, in several requests: for what may be asked for again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from kdm_cli.client.api import Kdm
from kdm_cli.client.mirror import target_of
from kdm_cli.exits import CommandError
from kdm_core.bulk import MAX_ITEMS

Body = dict[str, Any]

MAX_BYTES: Final = 48 * 1024
"""How large the items of one request may be, in bytes of JSON: kdm takes bodies of 64 KiB, and a reason takes some."""


def scale(kdm: Kdm, body: Mapping[str, Any], report: Callable[[Body], object]) -> Body:
    """Change several Deployments without looking at a plan, in as many requests as it takes.

    Args:
        kdm: Which kdm.
        body: The request.
        report: Called with what came of those before, where a request fails that is not the first.

    Returns:
        What came of all of them.

    Raises:
        CommandError: A request failed as a whole.
    """
    if "items" not in body:
        try:
            return kdm.scale(body).body
        except CommandError as error:
            if error.code != "bulk-too-large":
                raise
        chosen = body["select"]
        found = kdm.list(chosen.get("namespace"), chosen.get("labelSelector", ""))["items"]
        body = {**body, "items": [target_of(each)._asdict() for each in found]}
        del body["select"]
    done: list[Body] = []
    for portion in _portions(body["items"]):
        try:
            done.append(kdm.scale({**body, "items": portion}).body)
        except CommandError:
            if done:
                report(_as_one(done))
            raise
    return _as_one(done)


def _portions(items: Sequence[Body]) -> Iterator[list[Body]]:
    portion: list[Body] = []
    size = 0
    for each in items:
        more = len(json.dumps(each))
        if portion and (len(portion) == MAX_ITEMS or size + more > MAX_BYTES):
            yield portion
            portion, size = [], 0
        portion.append(each)
        size += more
    yield portion


def _as_one(results: Sequence[Body]) -> Body:
    summary: Counter[str] = Counter()
    for each in results:
        summary.update(each["summary"])
    return {
        **results[0],
        "batch": ", ".join(each["batch"] for each in results),
        "plan": ", ".join(each["plan"] for each in results),
        "warnings": [warning for each in results for warning in each["warnings"]],
        "summary": dict(summary),
        "items": [item for each in results for item in each["items"]],
    }
