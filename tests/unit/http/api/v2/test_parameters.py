"""The description's patterns of parameters and fields: a client that checks by them may send all that kdm takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import pytest

from kdm_core import InvalidChange, LabelSelector, RolloutState
from kdm_core.scaling import check_reason
from kdm_http.api.replays import key_of
from kdm_http.api.routes import ROUTES
from kdm_http.api.v2.asked import members_of
from kdm_http.api.v2.durations import duration
from kdm_http.api.v2.openapi import describe_all
from kdm_http.api.v2.parameters import PARAMETERS

READERS: Final[dict[str, Callable[[str], Any]]] = {
    "wait": lambda text: duration("wait", text),
    "labelSelector": LabelSelector.parse,
    "state": lambda text: members_of({"state": text}, "state", RolloutState),
    "Idempotency-Key": lambda text: key_of([text.encode()]),
}
TAKEN: Final = {
    "wait": ["0", "0s", "500ms", "2.5s", "60s", "120s", "600s", "1m30s", "2m", "10m"],
    "labelSelector": [
        "", "app", "!legacy", "app=web", "app==web", "app!=web", "app=", "tier in (web,api),!legacy",
        "app.kubernetes.io/name notin (a, b)", "size>5", " a = b , c ",
    ],
    "state": ["settled", "stalled,blocked"],
    "Idempotency-Key": ['"5b0c"', "5b0c", '"8e03978e-40d5-43dd-bc93-6894a57f9324"'],
    "If-Match": ["*", '"8f3c-7-3"', '"a", "b"'],
    "If-None-Match": ["*", 'W/"8f3c-7"', '"a","b"'],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in TAKEN.items() for text in texts])
def test_what_kdm_takes_fits_the_description(name: str, text: str) -> None:
    assert re.search(PARAMETERS[name]["schema"].get("pattern", ""), text)
    if name in READERS:
        READERS[name](text)


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_example_fits_its_own_description(name: str) -> None:
    schema, example = PARAMETERS[name]["schema"], PARAMETERS[name]["example"]
    if "pattern" in schema:
        assert re.search(schema["pattern"], example)
    if "enum" in schema:
        assert example in schema["enum"]


@pytest.mark.parametrize("shape", ["SetReplicas", "Adjust", "ScaleMany", "Park", "Restore"])
def test_a_reason_in_any_language_fits_the_description(shape: str) -> None:
    pattern = describe_all(ROUTES, 10)["components"]["schemas"][shape]["properties"]["reason"]["pattern"]
    for reason in ("", "sale", "Räumungsverkauf für Köln", "年末セール", "🎉 sale"):
        assert re.search(pattern, check_reason(reason))
    for reason in ("two\nlines", "a\x00b", "a\x7fb"):
        assert not re.search(pattern, reason)
        with pytest.raises(InvalidChange):
            check_reason(reason)
