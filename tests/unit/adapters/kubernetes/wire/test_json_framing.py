"""Cutting JSON: into lines, and into the items of a list, however the chunks fall."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.kubernetes.wire.json_framing import JsonList, Lines, read_page
from kdm_adapters.kubernetes.wire.json_messages import JsonDecoder
from kdm_adapters.kubernetes.wire.messages import Page
from kdm_adapters.kubernetes.wire.records import MAX_OBJECT_BYTES, ProtocolError, Records
from kdm_core.model import Deployment
from unit.adapters.kubernetes.objects import api_object, deployment, list_body

WEB = deployment("web", 12, desired=3)
MANY = [deployment(f"web-{i}", i + 1, desired=i % 4) for i in range(40)]


def pieces(body: bytes, size: int) -> Iterator[Page]:
    reader = JsonList(JsonDecoder(Records()))
    for i in range(0, len(body), size):
        page = reader.feed(body[i : i + size])
        if page is not None:
            assert not page.last
            yield page
    yield reader.end()


def items(pages: Iterator[Page]) -> list[Deployment]:
    return [each for page in pages for each in page.deployments]


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"kind":"PodList","metadata":{"resourceVersion":"1"}}'])
def test_what_is_no_list_is_garbage(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_page(body, JsonDecoder(Records()))


@pytest.mark.parametrize("value", [b'"three"', b"-1", b'"\xff"'])
@pytest.mark.parametrize("place", [0, 20, 39])
def test_an_item_that_makes_no_sense_is_left_out_wherever_it_is(value: bytes, place: int) -> None:
    body = list_body(*MANY, resource_version=9)
    mark = b'"name":"web-%d",' % place
    before, after = body.split(mark)
    body = before + mark + after.replace(b'"replicas":', b'"replicas":%b,"was":' % value, 1)
    pages = [*pieces(body, 1000)]
    assert items(iter(pages)) == [each for i, each in enumerate(MANY) if i != place]
    assert [bad.name for page in pages for bad in page.undecodable] == [f"web-{place}"]


def test_what_looks_like_the_next_item_inside_of_one_is_no_end_of_it() -> None:
    trap = {
        "list": [{"a": {}}, {"metadata": {"name": "trap"}}, {"metadata": {"name": "trap"}}],
        "text": '},{"metadata":',
    }
    objects = [api_object(each) | {"trap": trap} for each in MANY]
    body = json.dumps(
        {"kind": "DeploymentList", "metadata": {"resourceVersion": "5"}, "items": objects}, separators=(",", ":")
    ).encode()
    assert items(pieces(body, 700)) == MANY


@pytest.mark.parametrize("order", [["items", "metadata", "kind"], ["metadata", "items", "kind"]])
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_another_form_of_json_is_understood_as_well(order: list[str], separators: tuple[str, str]) -> None:
    whole = json.loads(list_body(*MANY, resource_version=5, continue_token="next"))
    body = json.dumps({key: whole[key] for key in order}, separators=separators).encode()
    pages = [*pieces(body, 500)]
    assert items(iter(pages)) == MANY
    assert (pages[-1].resource_version, pages[-1].continue_token) == ("5", "next")


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.lists(st.integers(1, 40)))
def test_lines_are_the_same_however_the_chunks_fall(lines: list[bytes], sizes: list[int]) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    framer, found = Lines(), []
    for size in [*sizes, len(stream) + 1]:
        chunk, stream = stream[:size], stream[size:]
        found += framer.feed(chunk)
    assert found == [line for line in lines if line]
    assert framer.rest_bytes == 0


def test_a_line_that_has_not_ended_is_waited_for() -> None:
    framer = Lines()
    assert framer.feed(b'{"type":') == []
    assert framer.rest_bytes == 8
    assert framer.feed(b"3}\n{") == [b'{"type":3}']
    assert framer.rest_bytes == 1


def test_a_line_without_end_is_given_up() -> None:
    framer = Lines()
    for _ in range(MAX_OBJECT_BYTES // 2**20):
        framer.feed(b"x" * 2**20)
    with pytest.raises(ProtocolError, match="more than"):
        framer.feed(b"x")
