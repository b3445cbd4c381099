"""Other people's words, as kdm shows them: one bounded line without markup, control characters or secrets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdm_adapters.kubernetes.wire.words import MAX_CHARS, MAX_PAGE_CHARS, address, plain, shown

TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJrZG0ifQ.c2lnbmF0dXJl-1"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("as it is", "as it is"),
        ("two\nlines\r\n\tand tabs", "two lines and tabs"),
        ("line\u2028and\u2029paragraph\x85separators", "line and paragraph separators"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("nul\x00", "nul\\x00"),
        ("right\u202eleft", "right\\u202eleft"),
        ("replicas must be < 5 & > 1", "replicas must be < 5 & > 1"),
        ("höchstens 20 Größe", "höchstens 20 Größe"),
        ("", ""),
    ],
)
def test_a_message_is_one_line_that_a_terminal_and_a_log_can_take(text: str, expected: str) -> None:
    """Markup stays: a policy may speak of "<"."""
    assert plain(text) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            b"<html><head><title>403 Forbidden</title></head><body><h1>Blocked</h1></body></html>",
            "403 Forbidden Blocked",
        ),
        (b"<!DOCTYPE html>\n<script>alert('x > y')</script><p>No&nbsp;entry&#33;</p>", "No entry!"),
        (b"<style>p { color: red }</style><!-- nginx -->Down", "Down"),
        (b"<b>&lt;script&gt;alert(1)&lt;/script&gt;</b>", "alert(1)"),
        (b"Sorry.<html><p>Try again", "Sorry. Try again"),
        (b"<unfinished tag", "no explanation"),
        (b"\xef\xbb\xbf<p>BOM</p>", "BOM"),
        (b"404 page not found\n", "404 page not found"),
        (b'{"message": "no Route matched"}', '{"message": "no Route matched"}'),
        (b"a < b and c > d", "a < b and c > d"),
        (b"", "no explanation"),
        (b"  \r\n", "no explanation"),
        (b"\x00\x01\xff", "\\x00\\x01\ufffd"),
    ],
)
def test_of_a_page_only_its_text_is_shown(body: bytes, expected: str) -> None:
    assert shown(body) == expected


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Authorization: Bearer {TOKEN}", TOKEN),
        (f"authorization:Bearer\n\t{TOKEN}", TOKEN),
        ("Authorization: Basic a2RtOmh1bnRlcg==", "a2RtOmh1bnRlcg"),
        ("Authorization: hunter", "hunter"),
        ("Proxy-Authorization: Basic a2RtOmh1bnRlcg==", "a2RtOmh1bnRlcg"),
        ('{"headers": {"Authorization": ["Bearer hunter-two"]}}', "hunter-two"),
        ("{'authorization': 'Bearer hunter-two'}", "hunter-two"),
        ("<tr><td>Authorization</td><td>Bearer hunter</td></tr>", "hunter"),
        ("<p>Bearer <i>abcdef0123456789</i> is expired</p>", "abcdef0123456789"),
        ("Cookie: session=abc; theme=dark", "session=abc"),
        ("Set-Cookie: sid=hunter2; Path=/", "hunter2"),
        (f"the token {TOKEN} has expired", TOKEN),
        ("invalid bearer token, [token lookup failed for bearer 0123456789abcdef]", "0123456789abcdef"),
        ("https://kdm:hunter2@gateway.example/", "hunter2"),
        ("see https://sso.example/?access_token=abcdef0123456789&x=1", "abcdef0123456789"),
        ('{"client_secret": "abcdef0123456789"}', "abcdef0123456789"),
        ("-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIB\n-----END EC PRIVATE KEY-----", "MHcCAQEEIB"),
        ("-----BEGIN PRIVATE KEY-----\nMHcCAQEEIB", "MHcCAQEEIB"),
    ],
)  # fmt: skip
def test_a_credential_that_somebody_echoes_is_not_handed_on(text: str, secret: str) -> None:
    for told in (plain(text), shown(text.encode()), shown(f"<html>{text}</html>".encode())):
        assert secret not in told
        assert "[redacted]" in told


@pytest.mark.parametrize(
    "text",
    [
        "bearer authentication is required",
        "token: must not be empty",
        "Deployments may not be scaled without a change token",
        "label secret is not allowed in namespace session-store",
        'deployments.apps "web" is forbidden: User "system:serviceaccount:kdm:kdm" cannot patch resource',
    ],
)
def test_words_about_credentials_are_handed_on(text: str) -> None:
    """A policy's author wrote them for the caller."""
    assert plain(text) == text


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("https://sso.example/login?state=abc&token=x#y", "https://sso.example/login"),
        ("https://kdm:hunter2@sso.example:8443/", "https://sso.example:8443/"),
        ("//sso.example/login", "://sso.example/login"),
        ("/login?next=/apis", "/login"),
        ("https://[::1/", "an address that makes no sense"),
        ("", ""),
    ],
)
def test_of_a_redirect_the_place_is_named_without_what_may_be_secret(location: str, expected: str) -> None:
    assert address(location) == expected


def test_a_redirect_does_not_tell_the_clusters_own_address() -> None:
    assert address("https://cluster.internal:6443/login", "cluster.internal") == "/login"


def test_what_is_long_is_cut_and_says_so() -> None:
    assert plain("x" * 10**6) == "x" * MAX_CHARS + "..."
    assert shown(b"y" * 10**6) == "y" * MAX_PAGE_CHARS + "..."
    assert plain("x" * MAX_CHARS) == "x" * MAX_CHARS


def test_a_secret_at_the_cut_is_not_told_in_part() -> None:
    assert TOKEN[:10] not in plain("x" * (MAX_CHARS - 15) + f" Bearer {TOKEN}")


@pytest.mark.parametrize("part", ["<script>", "<!--", "<", "a-", "token-", "Bearer ", "&lt;", "://", "eyJ.", '"', "\\"])
def test_whatever_is_repeated_costs_no_more_than_its_length(part: str) -> None:
    """No pattern may go over a text again and again: the test's own time limit is the bound."""
    body = part * (2**20 // len(part))
    assert len(shown(body.encode())) <= MAX_PAGE_CHARS + 3
    assert len(plain(body)) <= MAX_CHARS + 3


@given(st.text())
def test_whatever_is_said_is_one_printable_line(text: str) -> None:
    for told in (plain(text), shown(text.encode(errors="replace"))):
        assert told.isprintable()
        assert told == told.strip()
