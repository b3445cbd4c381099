"""Runs pieces of Python one after the other in one namespace, as a person at the prompt of ``python -m asyncio`` does.

Reads a JSON array of sources and writes a JSON array of what each printed.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
from typing import Any


async def session(sources: list[str]) -> list[str]:
    """Run the sources and return what they printed. An error ends the whole, with its traceback."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed = []
    for number, source in enumerate(sources):
        code = compile(source, f"<example {number}>", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            result = eval(code, names)  # noqa: S307 - that is what it is for
            if inspect.iscoroutine(result):
                await result
        printed.append(output.getvalue())
    for value in names.values():
        if hasattr(value, "close") and not isinstance(value, type):
            value.close()  # what is left open at the prompt ends with it
    return printed


if __name__ == "__main__":
    json.dump(asyncio.run(session(json.load(sys.stdin))), sys.stdout)
