"""What happened, as its source has it, and whether that is what a client was told."""

from __future__ import annotations

from unit.http.api.stream.streaming import Stream

Shown = tuple[str, str, str]
"""What a change is compared by: event, name and version."""


class History:
    """Changes of Deployments in the order in which they happened, from when there were none.

    Attributes:
        changes: The changes.
        states: What there was before the first one and after each: versions by name.
    """

    def __init__(self) -> None:
        self.changes: list[Shown] = []
        self.states: list[dict[str, str]] = [{}]

    def add(self, kind: str, name: str, version: str) -> None:
        """Note a change; the version of what is deleted is the one before."""
        self.changes.append((kind, name, version))
        state = dict(self.states[-1])
        state[name] = version
        if kind == "deleted":
            del state[name]
        self.states.append(state)

    def check(self, stream: Stream) -> int:
        """Compare with what a client saw on all its connections. Returns how often it began again, and said so."""
        # How much of the history the client knows: a state may have been there more than once.
        known = set(range(1))
        began_again = 0
        present: dict[str, str] = {}
        expected_reset = True
        for at, event in enumerate(stream.seen):
            shown = event.json
            if at in stream.opened_at:
                present = {}
            match event.type:
                case "reset":
                    assert shown["reason"] in {"too-old", "lagged"}
                    expected_reset = True
                    began_again += 1
                    present = {}
                case "present":
                    present[shown["name"]] = shown["resourceVersion"]
                case "synced":
                    assert expected_reset, "the state was sent again without a word"
                    expected_reset = False
                    known = {n for n in range(min(known), len(self.states)) if self.states[n] == present}
                    assert known, "it was never so"
                case "added" | "modified" | "deleted":
                    assert not expected_reset
                    change = event.type, shown["name"], shown["resourceVersion"]
                    following = {n + 1 for n in known if self.changes[n : n + 1] == [change]}
                    assert following, f"{change} came, not {self.changes[max(known)]}"
                    known = following
        assert len(self.changes) in known, "the end is missing"
        return began_again
