"""kdm's label selectors against a real API server's: what is one, and what it selects."""

from __future__ import annotations

from typing import Final

import aiohttp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kdm_core import InvalidSelector, LabelSelector

from .api_gateway import administrator
from .controlplane.cluster import ControlPlane
from .workloads import deployment

LABELS: Final = {
    "nothing": {},
    "web": {"tier": "web", "size": "3"},
    "api": {"tier": "api", "size": "10", "example.com/in": "in"},
    "odd": {"in": "notin", "notin": "", "size": "007"},
    "words": {"tier": "", "size": "many"},
}
_WORDS: Final = st.sampled_from(
    [
        *("tier", "size", "in", "notin", "example.com/in", "web", "api", "many", "3", "007", "9223372036854775807", ""),
        *("9223372036854775808", "-x", "x_.y", "é", "x" * 63, "x" * 64, "+1", "1_0", "a/b/c", "/a", "a/"),
    ]
)
_SPACE: Final = st.sampled_from(["", "", " ", "\t"])
_SYMBOLS: Final = st.sampled_from(["=", "==", "!=", "!", ",", "(", ")", "<", ">", " in ", " notin ", " in(", "exists"])
_VALUES: Final = st.lists(_WORDS, max_size=3).map(lambda each: f"({','.join(each)})")
_REQUIREMENTS: Final = (
    st.tuples(_SPACE, _WORDS, _SPACE, st.sampled_from(["=", "==", "!=", "<", ">"]), _SPACE, _WORDS).map("".join)
    | st.tuples(_WORDS, st.sampled_from([" in ", " notin ", " in"]), _VALUES).map("".join)
    | st.tuples(st.sampled_from(["", "!", "! "]), _WORDS).map("".join)
)
_NOISE: Final = st.lists(_WORDS | _SYMBOLS | _SPACE, max_size=7).map("".join)
SELECTORS: Final = st.lists(_REQUIREMENTS, max_size=3).map(",".join) | _NOISE


async def create(api: aiohttp.ClientSession, path: str) -> None:
    for name, labels in LABELS.items():
        body = deployment(name, 0)
        body["metadata"]["labels"] = labels
        async with api.post(path, json=body) as answer:
            assert answer.status == 201, await answer.text()


def selected(text: str) -> set[str] | None:
    """Return what kdm selects; None where it says that this is no selector."""
    try:
        selector = LabelSelector.parse(text)
    except InvalidSelector:
        return None
    return {name for name, labels in LABELS.items() if selector.matches(labels)}


async def test_a_selector_selects_what_the_api_server_selects(control_plane: ControlPlane) -> None:
    """Over hundreds of selectors, right and wrong: both refuse it, or both select the same."""
    verdicts = set()

    with control_plane.fresh_namespace() as namespace:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        async with administrator(control_plane.kubeconfig.read_text()) as api:
            await create(api, path)
            texts: list[str] = []

            @settings(max_examples=600, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            @given(SELECTORS)
            def draw(text: str) -> None:
                texts.append(text)

            draw()
            for text in dict.fromkeys(texts):
                async with api.get(path, params={"labelSelector": text}) as answer:
                    assert answer.status in {200, 400}, text
                    items = (await answer.json())["items"] if answer.status == 200 else None
                expected = None if items is None else {each["metadata"]["name"] for each in items}
                assert selected(text) == expected, text
                verdicts.add(None if expected is None else len(expected))

    assert {None, 0, 1, len(LABELS)} <= verdicts, "selectors that are none, and that select nothing, one and all"
