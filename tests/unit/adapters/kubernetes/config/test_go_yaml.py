"""YAML means to kdm what it means to kubectl, whose words for each case stand beside it."""

from __future__ import annotations

from typing import Any

import pytest

from kdm_adapters.kubernetes.config.go_yaml import InvalidYaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing but a comment\n", None),
        ("---\n", None),
        ("a: yes", {"a": True}),
        ("a: y", {"a": True}),
        ("a: Off", {"a": False}),
        ('a: "yes"', {"a": "yes"}),
        ("a: yEs", {"a": "yEs"}),
        ("a: 123", {"a": 123}),
        ("a: 0o17", {"a": 15}),
        ("a: 017", {"a": 15}),
        ("a: 08", {"a": 8.0}),
        ("a: 0x1F", {"a": 31}),
        ("a: 0b11", {"a": 3}),
        ("a: 1_000", {"a": 1000}),
        ("a: 18446744073709551615", {"a": 2**64 - 1}),
        ("a: 1.5e3", {"a": 1500.0}),
        ("a: 12:30:45", {"a": "12:30:45"}),
        ("a: 2020-01-01", {"a": "2020-01-01"}),
        ("a: 2020-01-01T10:00:00Z", {"a": "2020-01-01T10:00:00Z"}),
        ("a: 10.0.0.1", {"a": "10.0.0.1"}),
        ("a: ~\nb:\nc: Null", {"a": None, "b": None, "c": None}),
        ('a: ""', {"a": ""}),
        ("a: !!str 123", {"a": "123"}),
        ("a: !secret abc", {"a": "abc"}),
        ("a: !!binary aGk=", {"a": "hi"}),
        ("a: |\n  token\n", {"a": "token\n"}),
        ("true: 1\n2: 3\nno: 4", {"true": 1, "2": 3, "false": 4}),
        ("a: 1\na: 2", {"a": 2}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
        ("a: &x {b: 1, c: 1}\nd: {<<: *x, c: 2}", {"a": {"b": 1, "c": 1}, "d": {"b": 1, "c": 2}}),
        ("a: {<<: [{b: 1}, {b: 2, c: 3}]}", {"a": {"b": 1, "c": 3}}),
        ('{\n\t"a":\t["b"]\n}', {"a": ["b"]}),
        ("a: 1\n---\na: 2", {"a": 1}),
        ("\ufeffa: 1", {"a": 1}),
        ("a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
    ],
)
def test_a_text_means_what_it_means_to_kubectl(text: str, value: Any) -> None:
    found = read_yaml(text.encode())
    assert found == value
    assert repr(found) == repr(value), "1 and True and 1.0 are not the same"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"a: {", "not YAML"),
        (b"a: b: c", r"not YAML \(line 1, column 5\)"),
        (b"a: *nowhere", "no anchor before it"),
        (b"a: &x [*x]", "no anchor before it"),
        (b"a: .inf", "infinity"),
        (b"a: .NaN", "not-a-number"),
        (b"~: 1", "key must be a string"),
        (b"[a]: 1", "key must be a string"),
        (b"a: {<<: 1}", "only mappings can be merged"),
        (b"a: !!int secret", "does not fit its tag"),
        (b"a: !!binary '*'", "not base64"),
        ("a: !!binary 'ä'".encode(), "not base64"),
        (b"a: \xff\xfe", "not YAML"),
        (b"a: \x00", "not YAML"),
        (b"[" * 20_000, "not YAML"),
        (
            b"a: &a [s,s,s,s,s,s,s,s,s]\n"
            + b"".join(b"%c: &%c [%s]\n" % (n, n, b",".join([b"*%c" % (n - 1)] * 9)) for n in b"bcdefghi"),
            "unfold to too much",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_without_being_quoted(text: bytes, message: str) -> None:
    with pytest.raises(InvalidYaml, match=message) as caught:
        read_yaml(text)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
