"""What a stream has shown of Deployments, held up to date."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdm_cli.targets import Target

Body = dict[str, Any]


def target_of(body: Mapping[str, Any]) -> Target:
    """Return which Deployment a body is of."""
    return Target(body["namespace"], body["name"])


class Mirror:
    """The Deployments that a stream has shown, up to its last event.

    Attributes:
        held: The Deployments.
        complete: Whether the whole present state has been seen once.
    """

    def __init__(self) -> None:
        self.held: dict[Target, Body] = {}
        self.complete = False
        self._coming: dict[Target, Body] = {}

    def apply(self, kind: str, data: Body) -> list[tuple[str, Body]]:
        """Take an event in.

        Args:
            kind: Which event: ``present``, ``synced``, ``added``, ``modified``, ``deleted``, ``reset`` or another.
            data: Its data.

        Returns:
            What changed by it: ``present`` for the first state, else ``added``, ``modified`` or ``deleted``, and the
            Deployment. A state that comes again as a whole is compared with what was held.
        """
        if kind == "reset":
            self._coming = {}
        elif kind == "present":
            self._coming[target_of(data)] = data
        elif kind == "synced":
            return self._synced()
        elif kind == "deleted":
            self.held.pop(target_of(data), None)
            return [(kind, data)]
        elif kind in {"added", "modified"}:
            self.held[target_of(data)] = data
            return [(kind, data)]
        return []

    def interrupted(self) -> None:
        """Forget a state that was cut off half-way: it comes again as a whole."""
        self._coming = {}

    def _synced(self) -> list[tuple[str, Body]]:
        fresh, before = self._coming, self.held
        self.held, self._coming = fresh, {}
        if not self.complete:
            self.complete = True
            return [("present", body) for body in fresh.values()]
        gone = [("deleted", body) for target, body in before.items() if target not in fresh]
        changed = [
            ("modified" if target in before else "added", body)
            for target, body in fresh.items()
            if before.get(target) != body
        ]
        return gone + changed
