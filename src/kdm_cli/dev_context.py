"""A context for the development certificates, so that the commands work as soon as ``make run`` serves."""

from __future__ import annotations

import itertools
import shutil
import sys
from pathlib import Path

from kdm_cli.contexts import Context, Contexts
from kdm_cli.exits import CommandError
from kdm_cli.listening import from_here


def lines(name: str, server: str, certificates: Path) -> list[str]:
    """Write a context down, and return commands that use it.

    A context that leads elsewhere is left alone: the next free name is taken, ``dev-2`` for example. The current
    context stays the current one.

    Args:
        name: The context's name, if it is free.
        server: The server's URL.
        certificates: The directory of the development certificates.
    """
    try:
        contexts = Contexts.of_user()
        ca, cert, key = (certificates / each for each in ("dev-ca.pem", "dev-admin.pem", "dev-admin-key.pem"))
        made = Context(_free(contexts, name, certificates), server, ca, cert, key)
        is_current = contexts.add(made, replace=True)
    except ModuleNotFoundError as error:
        return [f"  pip install 'kdm-service[cli]' brings the command ({error.name} is missing)"]
    except CommandError as error:
        return [f"No context was written: {error}"]
    return examples(_program(), "" if is_current else made.name)


def examples(program: str, context: str) -> list[str]:
    """Return commands to try.

    Args:
        program: How to run kdm.
        context: The context to name; "" for the current one.
    """
    chosen = f" --context {context}" if context else ""
    return [
        f"  {program} get -A{chosen}",
        f"  {program} scale nginx-deployment=5 --wait --reason sale{chosen}",
        f"  {program} get shop/api -o yaml{chosen}",
        f"  {program} watch -A{chosen}",
    ]


def _free(contexts: Contexts, name: str, certificates: Path) -> str:
    for number in itertools.count(1):
        tried = name if number == 1 else f"{name}-{number}"
        if tried not in contexts.names or contexts.get(tried).cert.parent == certificates:
            return tried
    raise AssertionError  # pragma: no cover - there is always a free one


def _program() -> str:
    """Return how to run this kdm from here."""
    started = Path(sys.argv[0]).absolute()
    found = shutil.which("kdm")
    if started.name != "kdm" or (found and Path(found).resolve() == started.resolve()):
        return "kdm"
    return from_here(started)
