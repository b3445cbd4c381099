"""How large a header may be, without a connection: the parser's callbacks are made by hand, and by the real parser."""

from __future__ import annotations

from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_http.server.header_budget import FIELD_OVERHEAD, HeaderBudget, HeaderTooLarge

MAX_BYTES = 100


@pytest.fixture
def budget() -> HeaderBudget:
    return HeaderBudget(MAX_BYTES, 3)


def test_a_header_of_exactly_the_limit_passes_and_a_byte_more_does_not(budget: HeaderBudget) -> None:
    target, name = b"/" + b"x" * 9, b"name"
    room = MAX_BYTES - len(target) - len(name) - FIELD_OVERHEAD
    budget.begin_piece(b"." * 1000)  # header and body in one
    budget.begin_message()
    budget.check(target, [(name, b"v" * room)])
    assert not budget.exceeded
    with pytest.raises(HeaderTooLarge):
        budget.check(target, [(name, b"v" * (room + 1))])
    assert budget.exceeded


def test_fields_are_counted_too(budget: HeaderBudget) -> None:
    budget.begin_piece(b".")
    budget.begin_message()
    budget.check(b"/", [(b"a", b"")] * 3)
    with pytest.raises(HeaderTooLarge):
        budget.check(b"/", [(b"a", b"")] * 4)


def test_a_header_that_does_not_end_is_over_its_limit_after_its_pieces_are(budget: HeaderBudget) -> None:
    budget.begin_piece(b"x" * 60)
    budget.begin_message()
    assert budget.end_piece(in_header=True, was_idle=True)
    budget.begin_piece(b"x" * 40)
    assert budget.end_piece(in_header=True, was_idle=False)
    budget.begin_piece(b"x")
    assert not budget.end_piece(in_header=True, was_idle=False)
    assert budget.exceeded


def test_what_was_the_request_before_does_not_count(budget: HeaderBudget) -> None:
    """A piece with the rest of a body and the beginning of a header: how much is whose is not known."""
    budget.begin_piece(b"x" * 5000)
    budget.begin_message()
    assert budget.end_piece(in_header=True, was_idle=False)
    budget.begin_piece(b"x" * MAX_BYTES)
    assert budget.end_piece(in_header=True, was_idle=False)
    budget.begin_piece(b"x")
    assert not budget.end_piece(in_header=True, was_idle=False)


def test_whole_requests_before_a_header_do_not_count(budget: HeaderBudget) -> None:
    """A client may send many requests at once, and a read may end within the header of the last one."""
    budget.begin_piece(b"x" * 5000)
    for _ in range(50):
        budget.begin_message()
    assert budget.end_piece(in_header=True, was_idle=True)
    budget.begin_piece(b".")
    with pytest.raises(HeaderTooLarge):  # the part of it that came with them does
        budget.check(b"x" * (MAX_BYTES + 1), [])


def test_each_request_has_the_whole_budget(budget: HeaderBudget) -> None:
    for _ in range(5):
        budget.begin_piece(b"x" * 90)
        budget.begin_message()
        assert budget.end_piece(in_header=True, was_idle=True)
        budget.begin_piece(b"x" * 10)
        budget.check(b"/", [])
        assert budget.end_piece(in_header=False, was_idle=False)


def test_a_trailer_has_a_budget_of_the_same_size(budget: HeaderBudget) -> None:
    budget.begin_message()
    budget.add_trailer(b"a" * 40, b"b" * 56)
    assert not budget.exceeded
    with pytest.raises(HeaderTooLarge):
        budget.add_trailer(b"", b"")
    assert budget.exceeded


def test_the_piece_holds_the_request_line_however_it_is_cut(budget: HeaderBudget) -> None:
    budget.begin_piece(b"GET / HT")
    budget.begin_message()
    budget.end_piece(in_header=True, was_idle=True)
    budget.begin_piece(b"TP/1.1\r\n")
    assert budget.piece == b"GET / HTTP/1.1\r\n"
    budget.end_piece(in_header=True, was_idle=False)
    budget.begin_piece(b"\r\n")
    assert budget.piece == b"GET / HTTP/1.1\r\n\r\n"
    budget.end_piece(in_header=False, was_idle=False)
    assert budget.piece == b""
    budget.begin_piece(b"GET")
    assert budget.piece == b"GET"


class _Reader:
    """What a connection does with the parser and the budget, and nothing else."""

    def __init__(self, max_bytes: int) -> None:
        self.budget = HeaderBudget(max_bytes, 100)
        self.parser = httptools.HttpRequestParser(self)
        self.where = "idle"
        self.served = 0
        self.refused = False
        self.most_held = 0

    def on_message_begin(self) -> None:
        self.target, self.fields = b"", []  # type: ignore[var-annotated]
        self.where = "header"
        self.budget.begin_message()

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.budget.check(self.target, self.fields)
        assert self.budget.piece.count(b"GET " + self.target + b" HTTP/1.1\r\n")
        self.where = "body"

    def on_message_complete(self) -> None:
        self.served += 1
        self.where = "idle"

    def feed(self, data: bytes) -> None:
        was_idle = self.where == "idle"
        self.budget.begin_piece(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            assert self.budget.exceeded
            self.refused = True
            return
        self.refused = not self.budget.end_piece(in_header=self.where == "header", was_idle=was_idle)
        self.most_held = max(self.most_held, len(self.budget._earlier))


@given(data=st.data())
def test_the_limit_does_not_depend_on_how_requests_are_cut(data: Any) -> None:
    """Requests within the limit are all served, one that is twice as large never is, and no more than it is kept."""
    limit = 200
    sizes = data.draw(st.lists(st.integers(0, 100), min_size=1, max_size=5))
    large = data.draw(st.booleans())
    wire = b"".join(b"GET /%s HTTP/1.1\r\nhost: kdm\r\n\r\n" % (b"x" * size) for size in sizes)
    if large:
        wire += b"GET /%s HTTP/1.1\r\nhost: kdm\r\n\r\n" % (b"x" * 2 * limit)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=6)))
    reader = _Reader(limit)
    for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
        reader.feed(wire[begin:end])
        if reader.refused:
            break
    assert reader.served == len(sizes)
    assert reader.refused == large
    assert reader.most_held <= limit
