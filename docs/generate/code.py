"""The Python API, from signatures and Google-style docstrings."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import textwrap
from typing import Any, Final

import attrs

_SECTION: Final = re.compile(r"^(Args|Returns|Raises|Attributes|Guarantees|Not guaranteed):?$")
_ENTRY: Final = re.compile(r"^([\w.`*, ]+): (.*)$", re.DOTALL)
_ROLE: Final = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")


def prose(text: str | None) -> str:
    """Return a docstring's text as Markdown on one line."""
    return _markdown(" ".join((text or "").split()))


def describe_class(dotted: str) -> str:
    """Return a class: how it is made, what it says, its public methods and properties as its own body defines them."""
    found = _find(dotted)
    lines = [f"### {found.__name__} {{ #{found.__name__} }}", ""]
    if attrs.has(found) or ("__init__" in vars(found) and not getattr(found, "_is_protocol", False)):
        lines += [_code(found.__name__ + _signature(found)), ""]
    lines += [_docstring(inspect.getdoc(found)), ""]
    for name, member in _members(found):
        if name.startswith("_") or (inspect.getdoc(member) or "See the port.") == "See the port.":
            continue
        title = f"#### {name} {{ #{found.__name__}.{name} }}"
        if inspect.isfunction(member):
            prefix = "async def " if inspect.iscoroutinefunction(member) else "def "
            lines += [title, "", _code(prefix + name + _signature(member)), "", _docstring(inspect.getdoc(member)), ""]
        elif isinstance(member, property):
            lines += [title, "", _docstring(inspect.getdoc(member)), ""]
        elif isinstance(member, classmethod):
            plain = member.__func__
            lines += [title, "", _code("@classmethod\ndef " + name + _signature(plain)), ""]
            lines += [_docstring(inspect.getdoc(plain)), ""]
    return "\n".join(lines)


def _members(found: type) -> list[tuple[str, Any]]:
    """Return what a class defines, and what the bases define that are parts of it: those that nobody can import."""
    parts = [each for each in found.__mro__[1:] if each.__module__.startswith("kdm_core.service.")]
    return [pair for each in (found, *parts) for pair in vars(each).items()]


def describe_function(dotted: str) -> str:
    """Return a function: its signature and what it says."""
    found = _find(dotted)
    title = f"### {found.__name__} {{ #{found.__name__} }}"
    return "\n".join(
        [title, "", _code("def " + found.__name__ + _signature(found)), "", _docstring(inspect.getdoc(found))]
    )


def _find(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _signature(found: Any) -> str:
    """Return a signature as its source writes it, a parameter a line where it would be long."""
    if attrs.has(found):
        parameters = [_attribute(each) for each in attrs.fields(found) if each.init]
        returned = ""
    else:
        function = found.__init__ if inspect.isclass(found) else found
        tree: ast.AST = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
        if not isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef):
            raise TypeError(f"{found!r} is no function")
        parameters = [each for each in _parameters(tree.args) if each not in {"self", "cls"}]
        returned = "" if inspect.isclass(found) or tree.returns is None else f" -> {ast.unparse(tree.returns)}"
    text = f"({', '.join(parameters)}){returned}"
    return text if len(text) <= 80 else "(\n" + "".join(f"    {each},\n" for each in parameters) + f"){returned}"


def _attribute(attribute: attrs.Attribute[Any]) -> str:
    annotation: object = attribute.type
    kind = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    default = "" if attribute.default is attrs.NOTHING else f" = {attribute.default!r}"
    return f"{attribute.alias}: {kind}{default}"


def _parameters(arguments: ast.arguments) -> list[str]:
    """Return each parameter, with the bare ``*`` and ``/``, as its source writes it."""
    positional = [*arguments.posonlyargs, *arguments.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(arguments.defaults))
    told = [_parameter(*each) for each in zip(positional, [*missing, *arguments.defaults], strict=True)]
    if arguments.posonlyargs:
        told.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg or arguments.kwonlyargs:
        told.append("*" + (_parameter(arguments.vararg, None) if arguments.vararg else ""))
    return told + [_parameter(*each) for each in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)]


def _parameter(argument: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(argument.annotation)}" if argument.annotation else ""
    equals = " = " if kind else "="
    return f"{argument.arg}{kind}{f'{equals}{ast.unparse(default)}' if default else ''}"


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _docstring(text: str | None) -> str:
    """Return a docstring as Markdown: its sections as headed lists."""
    out: list[str] = []
    section = ""
    held: list[str] = []

    def flush() -> None:
        if section:
            out.extend(["", f"**{section}**", "", *_entries(section, held), ""])
            held.clear()

    for line in (text or "").splitlines():
        if _SECTION.match(line):
            flush()
            section = line.rstrip(":")
        elif section and line and not line.startswith(" "):
            flush()
            section = ""
            out.append(line)
        else:
            (held if section else out).append(line)
    flush()
    return re.sub(r"\n{3,}", "\n\n", _markdown("\n".join(out))).strip()


def _entries(section: str, lines: list[str]) -> list[str]:
    """Return a section's entries as a list; plain text stays plain."""
    body = textwrap.dedent("\n".join(lines)).strip()
    found = re.split(r"\n(?=\S)", body)
    if all(each.startswith("* ") for each in found):
        return [f"- {' '.join(each[2:].split())}" for each in found]
    told = [_ENTRY.match(each) for each in found]
    if section == "Returns" or not all(told):
        return [" ".join(body.split())]
    return [f"- `{each[1]}`: {' '.join(each[2].split())}" for each in told if each]


def _markdown(text: str) -> str:
    """Translate the inline markup of docstrings."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`")
