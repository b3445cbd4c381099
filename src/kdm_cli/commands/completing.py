"""What a shell is offered after TAB. What comes from the server comes within 200 ms, or not at all."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final

import click
from click.shell_completion import CompletionItem

from kdm_cli import contexts
from kdm_cli.client.api import Kdm
from kdm_cli.exits import CommandError

PATIENCE_S: Final = 0.2
"""How long whoever pressed TAB waits for the server, in seconds."""

STATES: Final = ("observing", "settling", "settled", "blocked", "stalled", "paused")


def context_names(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer contexts; after a comma, another one."""
    before, comma, last = typed.rpartition(",")
    with contextlib.suppress(CommandError):
        return [
            CompletionItem(f"{before}{comma}{name}")
            for name in contexts.Contexts.of_user().names
            if name.startswith(last) and name not in before.split(",")
        ]
    return []


def park_ids(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the ids of what is parked."""

    def ask() -> list[dict[str, Any]]:
        with contextlib.closing(_kdm(ctx)) as kdm:
            return list(kdm.parked(None)["batches"])

    return [CompletionItem(each["parkId"]) for each in soon(ask) if each["parkId"].startswith(typed)]


def states(_: click.Context, __: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the states of a rollout; after a comma, another one."""
    before, comma, last = typed.rpartition(",")
    used = before.split(",")
    return [CompletionItem(f"{before}{comma}{name}") for name in STATES if name.startswith(last) and name not in used]


def namespaces(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the namespaces that have a Deployment which the user may see."""
    found = {item["namespace"] for item in _ask(ctx, everywhere=True)}
    return [CompletionItem(name) for name in sorted(found) if name.startswith(typed)]


def deployments(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer names; with a slash, or of all namespaces, ``NAMESPACE/NAME``."""
    return [CompletionItem(name) for name in _names(ctx, typed)]


def wishes(ctx: click.Context, _: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer ``NAME=`` with the count that it has."""
    return [CompletionItem(f"{name}={count}") for name, count in _names(ctx, typed.partition("=")[0]).items()]


def _names(ctx: click.Context, typed: str) -> dict[str, int]:
    full = "/" in typed or bool(ctx.params.get("all_namespaces"))
    given = set(ctx.params.get("names") or ()) | {each.partition("=")[0] for each in ctx.params.get("wishes") or ()}
    found = {
        f"{item['namespace']}/{item['name']}" if full else item["name"]: item["replicas"]["desired"]
        for item in _ask(ctx, everywhere=full)
    }
    return {name: found[name] for name in sorted(found) if name.startswith(typed) and name not in given}


def _ask(ctx: click.Context, *, everywhere: bool) -> list[dict[str, Any]]:
    def ask() -> list[dict[str, Any]]:
        with contextlib.closing(_kdm(ctx)) as kdm:
            return list(kdm.list(None if everywhere else kdm.context.namespace)["items"])

    return soon(ask)


def _kdm(ctx: click.Context) -> Kdm:
    flags = {name: ctx.params.get(name) for name in ("server", "ca", "cert", "key", "namespace")}
    return Kdm(contexts.chosen(ctx.params.get("context"), flags, several=True)[0])


def soon(ask: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return what a function returns; nothing where it fails or takes longer than ``PATIENCE_S``."""
    answers: list[list[dict[str, Any]]] = []

    def work() -> None:
        with contextlib.suppress(Exception):  # whatever is wrong: a shell that completes has no place to say it
            answers.append(ask())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return answers[0] if answers else []
