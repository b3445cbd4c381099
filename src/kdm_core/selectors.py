"""Label selectors in Kubernetes' own grammar, as ``kubectl get -l`` and the API's ``labelSelector`` take them.

The grammar and its corner cases are those of k8s.io/apimachinery/pkg/labels, with one exception: a NUL character, which
ends a selector there and hides what follows, is an error here.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator, Mapping
from typing import Final

from attrs import frozen

from kdm_core.errors import InvalidSelector
from kdm_core.labels import LABEL_RULE, is_label_value, label_key_problem

MAX_INT64: Final = 2**63 - 1
"""Largest number that ``>`` and ``<`` compare with (``strconv.ParseInt`` of 64 bits)."""


class Operator(enum.StrEnum):
    """How a requirement relates a label to its values."""

    IN = "in"
    """The label is there, with one of the values. ``key = value`` is this, with one."""
    NOT_IN = "notin"
    """The label is not there, or has none of the values. ``key != value`` is this, with one."""
    EXISTS = "exists"
    DOES_NOT_EXIST = "!"
    GREATER_THAN = ">"
    """The label is there, and is an integer greater than the value."""
    LESS_THAN = "<"


@frozen
class Requirement:
    """One condition of a selector.

    Attributes:
        key: The label's key.
        operator: How it relates to the values.
        values: The values, sorted; empty for ``EXISTS`` and ``DOES_NOT_EXIST``.
    """

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet the condition."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.IN:
                return value in self.values
            case Operator.NOT_IN:
                return value not in self.values
            case Operator.EXISTS:
                return value is not None
            case Operator.DOES_NOT_EXIST:
                return value is None
        number = _int64(value)
        bound = _int64(self.values[0])
        if number is None or bound is None:
            return False
        return number > bound if self.operator is Operator.GREATER_THAN else number < bound

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.DOES_NOT_EXIST:
                return f"!{self.key}"
            case Operator.GREATER_THAN | Operator.LESS_THAN:
                return f"{self.key}{self.operator}{self.values[0]}"
            case _:
                return f"{self.key} {self.operator} ({','.join(self.values)})"


@frozen
class LabelSelector:
    """Which labels are meant: those that meet every requirement.

    Attributes:
        requirements: The conditions; none for everything.
    """

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def parse(cls, text: str) -> LabelSelector:
        """Read a selector, such as ``tier in (web,api),!legacy,replicas > 3``.

        Args:
            text: The selector; empty for everything.

        Raises:
            InvalidSelector: It is not of the grammar, or no label can be as it asks.
        """
        return cls(tuple(_Parser(text).requirements()))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Return whether labels meet every requirement."""
        return all(each.matches(labels) for each in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


EVERYTHING: Final = LabelSelector()
"""The selector that matches all labels, and none."""

_TOKEN: Final = re.compile(r"[ \t\r\n]*(?:(==|!=|[=!(),<>])|([^=!(),<> \t\r\n]+))?", re.DOTALL)
_END: Final = ""
_BINARY: Final = {
    "in": Operator.IN,
    "notin": Operator.NOT_IN,
    "=": Operator.IN,
    "==": Operator.IN,
    "!=": Operator.NOT_IN,
    ">": Operator.GREATER_THAN,
    "<": Operator.LESS_THAN,
}


class _Parser:
    """Reads one selector. A lexeme is a symbol, a word, or the end, which is empty."""

    def __init__(self, text: str) -> None:
        self._text = text
        if "\0" in text:
            raise self._error("it has a NUL character")
        self._lexemes = list(_lexemes(text))
        self._position = 0

    def requirements(self) -> Iterator[Requirement]:
        if self._next == _END:
            return
        while True:
            yield self._requirement()
            lexeme = self._take()
            if lexeme == _END:
                return
            if lexeme != ",":
                raise self._found(lexeme, "',' or the end")

    def _requirement(self) -> Requirement:
        absent = self._next == "!"
        if absent:
            self._take()
        key = self._take()
        if not _is_word(key):
            raise self._found(key, "a label's key" if absent else "a label's key or '!'")
        if problem := label_key_problem(key):
            raise self._error(f"{key[:80]!r} is no label: {problem}")
        if absent:
            return Requirement(key, Operator.DOES_NOT_EXIST)
        if self._next in {_END, ","}:
            return Requirement(key, Operator.EXISTS)
        lexeme = self._take()
        operator = _BINARY.get(lexeme)
        if operator is None:
            raise self._found(lexeme, "one of '=', '==', '!=', 'in', 'notin', '>', '<'")
        values = self._set() if lexeme in {"in", "notin"} else {self._exact()}
        for value in values:
            if not is_label_value(value):
                raise self._error(f"{value[:80]!r} is no label's value: it is empty or {LABEL_RULE}")
        if lexeme in {"<", ">"} and _int64(*values) is None:
            raise self._error(f"'{lexeme}' compares with an integer, not with {min(values)!r}")
        return Requirement(key, operator, tuple(sorted(values)))

    def _exact(self) -> str:
        if self._next in {_END, ","}:
            return ""
        lexeme = self._take()
        if not _is_word(lexeme):
            raise self._found(lexeme, "a value")
        return lexeme

    def _set(self) -> set[str]:
        lexeme = self._take()
        if lexeme != "(":
            raise self._found(lexeme, "'('")
        values = set()
        while True:
            value = self._take() if _is_word(self._next) else ""
            values.add(value)
            lexeme = self._take()
            if lexeme == ")":
                return values
            if lexeme != ",":
                raise self._found(lexeme, "',' or ')'")

    @property
    def _next(self) -> str:
        return self._lexemes[self._position]

    def _take(self) -> str:
        lexeme = self._next
        if lexeme != _END:
            self._position += 1
        return lexeme

    def _found(self, lexeme: str, expected: str) -> InvalidSelector:
        return self._error(f"found {lexeme[:80]!r}, expected {expected}" if lexeme else f"it ends before {expected}")

    def _error(self, problem: str) -> InvalidSelector:
        return InvalidSelector(self._text, problem)


def _lexemes(text: str) -> Iterator[str]:
    for lexeme, word in _TOKEN.findall(text):
        if lexeme or word:
            yield lexeme or word
    yield _END


def _is_word(lexeme: str) -> bool:
    return lexeme != _END and lexeme not in {"=", "==", "!=", "!", "(", ")", ",", "<", ">"}


def _int64(value: str | None) -> int | None:
    """Read what both can be a label's value and an integer of 64 bits: digits alone."""
    if value is None or not (value.isascii() and value.isdigit()):
        return None
    number = int(value)
    return number if number <= MAX_INT64 else None
