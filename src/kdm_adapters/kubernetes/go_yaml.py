"""YAML as kubectl reads it: YAML 1.1 turned into JSON's values by the rules of sigs.k8s.io/yaml and yaml.v2.

PyYAML's parser is libyaml, of which yaml.v2 is a port; its constructors differ (``y`` is a string to them, a date an
object, a repeated anchor no error), so the values are made here from the parser's nodes.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
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
_PLAIN: Final = "plain"
_QUOTED: Final = "quoted"


class InvalidYaml(ValueError):
    """The text is not YAML, or has no equivalent in JSON. The message never quotes the text: it may hold secrets."""


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]
    """Leaves the type of an untagged scalar open."""

    def resolve(self, kind: type[yaml.Node], value: object, implicit: tuple[bool, bool] | bool) -> str:  # noqa: ARG002
        """Return what stands in place of a tag."""
        return _PLAIN if implicit is True or (isinstance(implicit, tuple) and implicit[0]) else _QUOTED


def read_yaml(text: bytes) -> Json:
    """Return a document's value; None for an empty one. Later documents in the same text are ignored, as kubectl does.

    Args:
        text: UTF-8, or UTF-16 with a byte order mark.

    Raises:
        InvalidYaml: It cannot be read.
    """
    loader = _Loader(text)
    try:
        node = loader.get_node() if loader.check_node() else None
        return None if node is None else _Reader().value(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
        raise InvalidYaml(f"it is not YAML{where}") from None
    except (yaml.YAMLError, UnicodeError, RecursionError):
        raise InvalidYaml("it is not YAML") from None
    finally:
        loader.dispose()


class _Reader:
    """Makes values of one document's nodes."""

    def __init__(self) -> None:
        self._values = 0
        self._open: set[int] = set()

    def value(self, node: yaml.Node) -> Json:
        self._values += 1
        if self._values > _MAX_VALUES:
            raise InvalidYaml("its aliases unfold to too much")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        assert isinstance(node, yaml.SequenceNode | yaml.MappingNode)  # noqa: S101 - there is no other
        if id(node) in self._open:
            raise InvalidYaml(f"an anchor contains itself ({_line(node)})")
        self._open.add(id(node))
        try:
            return self._sequence(node) if isinstance(node, yaml.SequenceNode) else self._mapping(node)
        finally:
            self._open.discard(id(node))

    def _sequence(self, node: yaml.SequenceNode) -> list[Json]:
        return [self.value(each) for each in node.value]

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Json]:
        """Return a mapping. Of equal keys the last wins, and any key wins over merged ones that stand before it."""
        found: dict[str, Json] = {}
        for key_node, value_node in node.value:
            if isinstance(key_node, yaml.ScalarNode) and key_node.value == "<<" and key_node.tag == _PLAIN:
                found.update(self._merged(value_node))
            else:
                found[self._key(key_node)] = self.value(value_node)
        return found

    def _merged(self, node: yaml.Node) -> dict[str, Json]:
        merged: dict[str, Json] = {}
        for each in reversed(node.value) if isinstance(node, yaml.SequenceNode) else (node,):
            if not isinstance(each, yaml.MappingNode):
                raise InvalidYaml(f"only mappings can be merged ({_line(node)})")
            merged.update(self.value(each))
        return merged

    def _key(self, node: yaml.Node) -> str:
        key = self.value(node)
        if isinstance(key, bool):
            return "true" if key else "false"
        if isinstance(key, str | int | float):
            return str(key)
        raise InvalidYaml(f"a key must be a string ({_line(node)})")


def _scalar(node: yaml.ScalarNode) -> Json:
    text: str = node.value
    if node.tag == _PLAIN:
        return _plain(text, node)
    if node.tag == f"{_STANDARD}binary":
        try:
            return base64.b64decode(text.replace("\n", ""), validate=True).decode(errors="replace")
        except binascii.Error:
            raise InvalidYaml(f"a !!binary is not base64 ({_line(node)})") from None
    expected = _TAGGED.get(node.tag.removeprefix(_STANDARD))
    if expected is None:
        return text
    value = _plain(text, node)
    if type(value) not in expected:
        raise InvalidYaml(f"a value does not fit its tag ({_line(node)})")
    return value


def _plain(text: str, node: yaml.Node) -> Json:
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if _NOT_A_NUMBER.fullmatch(text):
        raise InvalidYaml(f"infinity and not-a-number have no equivalent in JSON ({_line(node)})")
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


def _line(node: yaml.Node) -> str:
    return f"line {node.start_mark.line + 1}"
