"""What can go wrong: over HTTP, from the API's own document; in Python, from the exceptions' docstrings."""

from __future__ import annotations

import inspect

import kdm_core
from docs.generate.code import prose
from docs.generate.operations import API, operations
from kdm_core import KdmError
from kdm_core.copyable import Copyable
from kdm_core.errors import ERRORS
from kdm_http.api.errors import STATUS


def describe_errors(_: str) -> str:
    """Return a table of every status an operation can be answered with when something is wrong."""
    rows = ["| status | what it means | exceptions in Python | reads | writes |", "|---|---|---|---|---|"]
    for status, told in API["components"]["responses"].items():
        answered = {method for method, _, _, each in operations() if status in each["responses"]}
        raised = ", ".join(f"`{ERRORS[code].__name__}`" for code, each in STATUS.items() if each == int(status))
        marks = ["yes" if kind in answered else "" for kind in ("get", "put")]
        rows.append(f"| [{status}](#s{status}) | {told['description']} | {raised} | {' | '.join(marks)} |")
    return "\n".join(rows)


def describe_exceptions(_: str) -> str:
    """Return a table of the library's exceptions, subclasses below their class."""
    rows = ["| exception | is also a | over HTTP | what it means |", "|---|---|---|---|"]

    def tell(error: type[KdmError], depth: int) -> None:
        parents = ", ".join(f"`{each.__name__}`" for each in error.__bases__ if each not in {Exception, Copyable})
        status = STATUS.get(error.code, "")
        rows.append(f"| {'&emsp;' * depth}`{error.__name__}` | {parents} | {status} | {prose(inspect.getdoc(error))} |")
        for each in sorted(error.__subclasses__(), key=lambda each: each.__name__):
            if getattr(kdm_core, each.__name__, None) is each:
                tell(each, depth + 1)

    tell(KdmError, 0)
    return "\n".join(rows)
