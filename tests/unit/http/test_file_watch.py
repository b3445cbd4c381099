"""When a change of files is taken up: once, and not in the middle of it."""

from __future__ import annotations

import pytest

from kdm_http.file_watch import FileChanges


@pytest.mark.parametrize(
    ("seen", "told"),
    [
        ("aaaa", "...."),
        ("abbb", "..!."),
        ("bcdd", "...!"),
        ("bbaa", ".!.!"),
        ("babb", "...!"),
        ("bbccbb", ".!.!.!"),
    ],
)
def test_a_change_is_told_once_it_stands_still(seen: str, told: str) -> None:
    """Each letter is what one look finds; a "!" stands under the look that tells of a change."""
    changes = FileChanges(handled="a")
    assert "".join("!" if changes.seen(state) else "." for state in seen) == told
