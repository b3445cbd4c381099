"""YAML as kubectl reads it: YAML 1.1 turned into JSON's values by the rules of sigs.k8s.io/yaml and yaml.v2.

PyYAML's parser is libyaml, of which yaml.v2 is a port; its constructors differ (``y`` is a string to them, a date an
object, a repeated anchor an error), so the values are made here from the parser's events.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

Json = Any
"""None, a bool, an int, a float, a str, a list or a dict with str keys."""

_BOOLEANS: Final = {
    word: value
    for value, words in ((True, "y yes true on"), (False, "n no false off"))
    for each in words.split()
    for word in (each, each.capitalize(), each.upper())
}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_NOT_A_NUMBER: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_TIMESTAMP: Final = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}([Tt]\d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?(Z|[-+]\d\d:\d\d)| \d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?)?"
)
_INTEGER: Final = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_MAX_INTEGER: Final = 2**64 - 1
_MAX_VALUES: Final = 1_000_000
"""How many values a document may unfold to: aliases could make billions of a few lines."""

_TAGGED: Final = {"bool": (bool,), "int": (int,), "float": (int, float), "null": (type(None),)}
_STANDARD: Final = "tag:yaml.org,2002:"

_Loader: Final = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


class InvalidYaml(ValueError):
    """The text is not YAML, or has no equivalent in JSON. The message never quotes the text: it may hold secrets."""


def read_yaml(text: bytes) -> Json:
    """Return a document's value; None for an empty one. Later documents in the same text are ignored, as kubectl does.

    Args:
        text: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        InvalidYaml: It cannot be read.
    """
    try:
        return _Reader(text).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise InvalidYaml(f"it is not YAML{where}") from None
    except (yaml.YAMLError, UnicodeError, RecursionError):
        raise InvalidYaml("it is not YAML") from None


class _Reader:
    """Makes one document's value of the parser's events."""

    def __init__(self, text: bytes) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_Loader)
        self._anchors: dict[str, tuple[Json, int] | None] = {}  # an anchor's value and size; None while it is open
        self._size = 0

    def document(self) -> Json:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                return self._value(next(self._events))
        return None

    def _value(self, event: yaml.Event) -> Json:
        self._grow(1, event)
        assert isinstance(event, yaml.NodeEvent)  # noqa: S101 - the parser has checked it
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        begin = self._size
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value: Json = _scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = [self._value(each) for each in self._until(yaml.SequenceEndEvent)]
        else:
            value = self._mapping()
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._size - begin)
        return value

    def _alias(self, event: yaml.AliasEvent) -> Json:
        found = self._anchors.get(event.anchor or "")
        if found is None:
            raise InvalidYaml(f"an alias has no anchor before it ({_line(event)})")
        value, size = found
        self._grow(size, event)
        return value

    def _mapping(self) -> dict[str, Json]:
        """Return a mapping. Of equal keys the last wins, merged or not."""
        found: dict[str, Json] = {}
        for key in self._until(yaml.MappingEndEvent):
            if isinstance(key, yaml.ScalarEvent) and key.value == "<<" and key.implicit[0]:
                found.update(_merged(self._value(next(self._events)), key))
            else:
                name = _key(self._value(key), key)
                found[name] = self._value(next(self._events))
        return found

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        for event in self._events:
            if isinstance(event, end):
                return
            yield event

    def _grow(self, size: int, event: yaml.Event) -> None:
        self._size += size
        if self._size > _MAX_VALUES:
            raise InvalidYaml(f"its aliases unfold to too much ({_line(event)})")


def _merged(value: Json, event: yaml.Event) -> dict[str, Json]:
    merged: dict[str, Json] = {}
    for each in reversed(value) if isinstance(value, list) else (value,):
        if not isinstance(each, dict):
            raise InvalidYaml(f"only mappings can be merged ({_line(event)})")
        merged.update(each)
    return merged


def _key(key: Json, event: yaml.Event) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, str | int | float):
        return str(key)
    raise InvalidYaml(f"a key must be a string ({_line(event)})")


def _scalar(event: yaml.ScalarEvent) -> Json:
    text: str = event.value
    if event.tag is None or event.tag == "!":
        return _plain(text, event) if event.implicit[0] else text
    if event.tag == f"{_STANDARD}binary":
        try:
            return base64.b64decode(text.replace("\n", ""), validate=True).decode(errors="replace")
        except ValueError:  # binascii's, or for what is not ASCII
            raise InvalidYaml(f"a !!binary is not base64 ({_line(event)})") from None
    expected = _TAGGED.get(event.tag.removeprefix(_STANDARD))
    if expected is None:
        return text
    value = _plain(text, event)
    if type(value) not in expected:
        raise InvalidYaml(f"a value does not fit its tag ({_line(event)})")
    return value


def _plain(text: str, event: yaml.Event) -> Json:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _NOT_A_NUMBER.fullmatch(text):
        raise InvalidYaml(f"infinity and not-a-number have no equivalent in JSON ({_line(event)})")
    if text[0] not in "+-.0123456789" or _TIMESTAMP.fullmatch(text):
        return text
    digits = text if text[0] == "." else text.replace("_", "")
    if _INTEGER.fullmatch(digits):
        octal = re.fullmatch(r"[-+]?0[0-7]+", digits)
        number = int(digits, 8 if octal else 0)
        if -(2**63) <= number <= _MAX_INTEGER:
            return number
    if _FLOAT.fullmatch(digits):
        value = float(digits)
        if math.isfinite(value):
            return value
    return text


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}" if event.start_mark is not None else "somewhere"
