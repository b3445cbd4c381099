"""What a stream leaves, however it is cut."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kdm_cli.client.mirror import Mirror, target_of
from kdm_cli.targets import Target

BODY = st.builds(
    lambda name, count: {"namespace": "shop", "name": name, "n": count}, st.sampled_from("abc"), st.integers(0, 3)
)


def state(bodies: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {body["name"]: body for body in bodies}


@given(
    st.lists(st.tuples(st.booleans(), st.lists(BODY, max_size=3), st.lists(BODY, max_size=3)), min_size=1, max_size=6)
)
def test_after_each_whole_state_it_holds_exactly_that_and_what_it_told_adds_up(
    rounds: list[tuple[bool, list[dict[str, Any]], list[dict[str, Any]]]],
) -> None:
    """A listener that applies what it is told holds the same; a state that was cut off half-way changes nothing."""
    mirror = Mirror()
    listener: dict[Target, dict[str, Any]] = {}
    for cut, whole, later in rounds:
        mirror.apply("reset", {"reason": "lagged"})
        for body in state(whole).values():
            assert mirror.apply("present", body) == []
        if cut:
            mirror.interrupted()
            continue
        changes = mirror.apply("synced", {"stale": False})
        for body in later:
            changes += mirror.apply("modified" if target_of(body) in mirror.held else "added", body)
        for kind, body in changes:
            if kind == "deleted":
                del listener[target_of(body)]
            else:
                assert (kind == "modified") == (target_of(body) in listener) or kind == "present"
                listener[target_of(body)] = body
        assert listener == mirror.held
        assert {each.name: body for each, body in mirror.held.items()} == state(whole) | state(later)


def test_the_first_state_is_present_and_a_later_one_is_what_changed() -> None:
    mirror = Mirror()
    web, api = ({"namespace": "shop", "name": name, "n": 1} for name in ("web", "api"))
    mirror.apply("present", web)
    assert mirror.apply("synced", {}) == [("present", web)]
    mirror.apply("reset", {})
    mirror.apply("present", web)
    mirror.apply("present", api)
    assert mirror.apply("synced", {}) == [("added", api)]
    mirror.apply("reset", {})
    mirror.apply("present", api)
    assert mirror.apply("synced", {}) == [("deleted", web)]
