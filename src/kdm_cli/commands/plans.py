"""What a change comes to, shown before it is made, and what came of it, shown afterwards."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kdm_cli.client.api import Kdm
from kdm_cli.client.failures import exit_of, sentence
from kdm_cli.client.mirror import target_of
from kdm_cli.commands import options, portions, waiting
from kdm_cli.exits import CommandError, Exit, of_several
from kdm_cli.output import formats
from kdm_cli.output.text import Layout, coloured, printable, say, warn
from kdm_cli.waits import Ended, Goal

Body = dict[str, Any]


class How(NamedTuple):
    """How a change is to be made and shown.

    Attributes:
        form: The form of the output.
        yes: Whether it was agreed to on the command line.
        dry_run: Whether to change nothing.
        wait_for: How far to wait for the Pods; "" for not at all.
        wait_s: How long, in seconds.
        goes_on: Whether the others are changed where one of several is refused or fails.
        repeats: Whether the same may be asked for again, to do what is left.
        may_be_none: Whether it is fine that nothing is found.
    """

    form: str
    yes: bool
    dry_run: bool
    wait_for: str = ""
    wait_s: float = 0.0
    goes_on: bool = False
    repeats: bool = False
    may_be_none: bool = False


def in_bulk(kdm: Kdm, body: Mapping[str, Any], how: How) -> int:
    """Change several Deployments: plan, ask, do exactly what was shown, and wait.

    Where it was agreed to beforehand, and one refusal does not stop the others, nobody looks at a plan: none is made.

    Args:
        kdm: Which kdm.
        body: The request.
        how: How to go about it.

    Returns:
        The exit code.

    Raises:
        CommandError: It was not done.
    """
    if how.goes_on:
        body = {**body, "onError": "continue"}
        if how.yes and not how.dry_run:
            return _report(portions.scale(kdm, body, lambda done: _report(done, how, kdm)), how, kdm)
    planned = kdm.scale(body, dry_run=True)
    plan: Body = planned.body
    items: list[Body] = plan["items"]
    refused = [item for item in items if item.get("error")]
    changing = [item for item in items if item["from"] != item["to"]]
    if how.dry_run or refused or (changing and not how.yes):
        show(plan, how, file_is_output=how.dry_run)
    if refused and not how.goes_on:
        exits = [exit_of(item["error"].get("status", 422), item["error"]) for item in refused]
        raise CommandError(f"{len(refused)} of {len(items)} refused; nothing was changed", of_several(exits))
    if how.dry_run:
        return of_several([_exit_of_item(item, None) for item in items])
    if not changing:
        return _report(plan, how, kdm)
    options.confirm(f"Change {_counted(len(changing))}?", yes=how.yes)
    return _report(kdm.scale(body, plan=planned.fields.get("etag", "")).body, how, kdm)


def show(plan: Mapping[str, Any], how: How, *, file_is_output: bool) -> None:
    """Show a plan: to whoever is asked, or as the output of a dry run."""
    if file_is_output and how.form in {"json", "yaml"}:
        say(formats.dumped(plan, how.form))
        return
    stream = sys.stdout if file_is_output else sys.stderr
    rows = [_plan_row(item) for item in plan["items"]]
    if not rows:
        return
    layout = Layout(["NAME", "FROM", "TO", "OWNER", "NOTE"], rows, colours=coloured(stream))
    print("\n".join([layout.title, *map(layout.line, rows)]), file=stream, flush=True)


def _plan_row(item: Mapping[str, Any]) -> list[str]:
    error = item.get("error")
    notes = [sentence(error.get("status", 422), error)] if error else list(item.get("warnings") or ())
    if not error and item["to"] is not None and item["from"] == item["to"]:
        notes.insert(0, "stays")
    return [
        f"{item['namespace']}/{item['name']}",
        *("-" if item.get(each) is None else str(item[each]) for each in ("from", "to")),
        formats.owner(dict(item)),
        "; ".join(notes) or "-",
    ]


def _report(result: Body, how: How, kdm: Kdm) -> int:
    """Show what came of a change of several, wait for the Pods where that is wanted, and return the exit code."""
    if not result["items"]:
        return none_found("no Deployments found; nothing was changed", how)
    quiet = how.form in {"json", "yaml"}
    if not quiet:
        for item in result["items"]:
            say(printable(str(target_of(item)) if how.form == "name" else _item_line(item)))
        if how.form == "table" and result.get("batch") and not result["dryRun"]:
            say(f"batch {result['batch']}")
    goals = [_goal(item) for item in result["items"] if how.wait_for and _went_well(item)]
    ended = waiting.await_goals(kdm.context, goals, how.wait_for, how.wait_s, quiet=quiet).ended
    for item in result["items"]:
        if (end := ended.get(target_of(item))) is not None:
            item["rollout"] = end.rollout
    if quiet:
        say(formats.dumped(result, how.form))
    code = of_several([_exit_of_item(item, ended.get(target_of(item))) for item in result["items"]])
    left = [item for item in result["items"] if _may_come_through(item)]
    if left and how.repeats:
        raise CommandError(f"{len(left)} of {len(result['items'])} are left to do", code, passing=True)
    return code


def none_found(text: str, how: How) -> int:
    """Return the exit code where nothing is found that could be changed.

    Raises:
        CommandError: That is not fine.
    """
    if not how.may_be_none:
        raise CommandError(text, Exit.NOT_FOUND)
    warn(text)
    return Exit.DONE


def _may_come_through(item: Mapping[str, Any]) -> bool:
    """Return whether a change that was not made may be made by asking for the same again."""
    return bool(item["outcome"] == "skipped" or (item.get("error") or {}).get("retryable"))


def _goal(item: Mapping[str, Any]) -> Goal:
    """Return what to wait for: what was written, else what is desired now."""
    if item.get("resourceVersion"):
        return Goal(target_of(item), item["uid"], item["resourceVersion"], item["to"])
    return Goal(target_of(item))


def _went_well(item: Mapping[str, Any]) -> bool:
    return not item.get("error") and item["outcome"] != "skipped" and item["to"] is not None


def _exit_of_item(item: Mapping[str, Any], ended: Ended | None) -> Exit:
    if error := item.get("error"):
        return exit_of(error.get("status", 500), error)
    if item["outcome"] == "skipped":
        return Exit.PARTLY
    return Exit.DONE if ended is None else ended.exit


def _item_line(item: Mapping[str, Any]) -> str:
    name = f"{item['namespace']}/{item['name']}"
    if error := item.get("error"):
        return f"{name}: {sentence(error.get('status', 500), error)}"
    if item["outcome"] == "skipped":
        return f"{name}: skipped"
    notes = "; ".join(item.get("warnings") or ())
    if item["to"] is None:
        return f"{name}: {notes}"
    if item["from"] == item["to"]:
        return f"{name}: stays at {item['to']}: {notes}" if notes else f"{name}: already {item['to']}"
    return f"{name}: {item['from']} -> {item['to']}" + (f" ({notes})" if notes else "")


def one(kdm: Kdm, written: Body, how: How, note: str = "") -> int:
    """Show what came of a change of one Deployment, wait where that is wanted, and return the exit code.

    Args:
        kdm: Which kdm.
        written: The answer to the write.
        how: How to go about it.
        note: What to add to the line.
    """
    quiet = how.form in {"json", "yaml"}
    target = target_of(written)
    for each in written["warnings"]:
        warn(f"warning: {each}")
    if how.form == "name":
        say(str(target))
    elif not quiet:
        say(printable(_one_line(written) + note))
    code = Exit.DONE
    if how.wait_for and not how.dry_run:
        goal = Goal.of_write(target, written)
        result = waiting.await_goals(kdm.context, [goal], how.wait_for, how.wait_s, quiet=quiet)
        ended = result.ended[target]
        written["rollout"], code = ended.rollout, ended.exit
        if quiet and ended.error is not None:
            warn(str(ended.error))
    if quiet:
        say(formats.dumped(written, how.form))
    return code


def _one_line(written: Mapping[str, Any]) -> str:
    counts = written["replicas"]
    before, after = counts["previous"], counts["desired"]
    name = f"{written['namespace']}/{written['name']}"
    change = f"already {after}" if not written["changed"] else f"{'?' if before is None else before} -> {after}"
    return f"{name}: {change}{' (dry run: nothing was changed)' if written['dryRun'] else ''}"


def ask_for_one(kdm: Kdm, dry: Mapping[str, Any], how: How) -> None:
    """Show what a change of one Deployment comes to, and ask.

    Args:
        kdm: Which kdm.
        dry: The answer to a dry run of it.
        how: How to go about it.
    """
    target = target_of(dry)
    counts = dry["replicas"]
    item = {
        **target._asdict(),
        "from": counts["previous"],
        "to": counts["desired"],
        "owners": kdm.get(target).get("owners") or [],
        "warnings": dry["warnings"],
    }
    show({"items": [item]}, how, file_is_output=False)
    options.confirm(f"Change {target}?", yes=how.yes)


def _counted(number: int) -> str:
    return f"{number} Deployment{'' if number == 1 else 's'}"


def common(reason: str, *, override: bool) -> dict[str, Any]:
    """Return the members that every write's body may have."""
    return {**({"reason": reason} if reason else {}), **({"override": True} if override else {})}


def select_or_items(place: options.Place, selector: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the part of a bulk request that says which Deployments it is about."""
    if items:
        return {"items": list(items)}
    chosen: dict[str, Any] = {"namespace": place.namespace} if place.namespace else {}
    chosen |= {"labelSelector": selector} if selector else {"all": True}
    return {"select": chosen}
