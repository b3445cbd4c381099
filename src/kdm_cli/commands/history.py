"""``kdm history`` and ``kdm undo``: who changed what, and back."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from kdm_cli import targets
from kdm_cli.client.api import Kdm
from kdm_cli.commands import completing, options, plans
from kdm_cli.commands.options import Place
from kdm_cli.commands.plans import Body, How
from kdm_cli.commands.rich_help import Command
from kdm_cli.commands.writing import WriteCommand, write
from kdm_cli.exits import CommandError, Exit
from kdm_cli.output import formats
from kdm_cli.output.text import coloured, table, warn


@click.command(cls=Command)
@click.argument("name", required=False, shell_complete=completing.deployments)
@options.selector
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 100000), default=50, help="At most so many.  [default: 50]"
)
@click.option("--since", metavar="DURATION", help="Only changes of this time: 90s, 2h, 24h.")
@options.output("table", "json", "yaml")
@options.place()
def history(name: str | None, selector: str, limit: int, since: str | None, form: str, place: Place) -> int:
    """Show who changed which count, newest first: of one Deployment, of the namespace, or of all.

    kdm remembers what it saw since it was started, up to a bound: the last line says since when.
    """
    if name is not None and (selector or place.everywhere):
        raise targets.usage("a name and -l or -A exclude each other: a name says which Deployment it is")
    begin = ""
    if since is not None:
        age_s = targets.duration(since, "--since")
        now = datetime.now(UTC)
        past = now - timedelta(seconds=min(age_s, now.timestamp()))  # before 1970 there is nothing to see
        begin = past.isoformat(timespec="seconds").replace("+00:00", "Z")
    kdm = place.kdm()
    if name is not None:
        found = kdm.history(place.target(name), begin, limit)
    else:
        found = kdm.recent(place.namespace, selector, begin, limit)
    if form != "table":
        print(formats.dumped(found, form))
        return Exit.DONE
    rows = [_row(item) for item in found["items"]]
    if rows:
        titles = ["AGO", "NAME", "FROM", "TO", "BY", "REASON", "BATCH"]
        print("\n".join(table(titles, rows, colours=coloured(sys.stdout))))
    warn(f"{'' if rows else 'no changes seen; '}watching since {found['since'] or 'now'}")
    return Exit.DONE


def _row(item: dict[str, Any]) -> list[str]:
    return [
        formats.ago(item["at"]),
        formats.name(item),
        *("-" if item[each] is None else str(item[each]) for each in ("previous", "desired")),
        item.get("actor") or item.get("manager") or "-",
        item.get("reason") or "-",
        item.get("batch") or "-",
    ]


@click.command(cls=WriteCommand)
@click.argument("name", required=False, shell_complete=completing.deployments)
@click.option("--batch", metavar="ID", help="Undo all changes of one call, as `kdm history` shows it.")
@write(everywhere=False)
def undo(
    name: str | None,
    batch: str | None,
    how: How,
    body: Body,
    place: Place,
) -> int:
    """Write the count back that the newest change replaced. Refused if somebody changed it since."""
    if (name is None) == (batch is None):
        raise targets.usage("say what to undo: a NAME, or --batch ID")
    kdm = place.kdm()
    if name is not None:
        return _undo_one(kdm, place.target(name), body, how)
    return _undo_batch(kdm, str(batch), body, how)


def _undo_one(kdm: Kdm, target: targets.Target, body: dict[str, Any], how: How) -> int:
    changes = kdm.history(target, limit=1)["items"]
    if not changes:
        raise CommandError(f"{target}: kdm has seen no change since it was started; nothing was changed")
    last = changes[0]
    _can_be_undone(last)
    wanted = {"replicas": last["previous"], "currentReplicas": last["desired"], "uid": last["uid"], **body}
    if last["previous"] == 0 and not how.yes and not how.dry_run:
        plans.ask_for_one(kdm, kdm.set(target, wanted, dry_run=True), how)
    who = last.get("actor") or last.get("manager") or "somebody"
    note = f" (undoes the change by {who}, {formats.ago(last['at'])} ago)"
    return plans.one(kdm, kdm.set(target, wanted, dry_run=how.dry_run), how, note)


def _undo_batch(kdm: Kdm, batch: str, body: dict[str, Any], how: How) -> int:
    changes = [each for each in kdm.recent(None)["items"] if each.get("batch") == batch]
    if not changes:
        raise CommandError(f"kdm remembers no batch {batch!r}: `kdm history` shows what it does", Exit.NOT_FOUND)
    for each in changes:
        _can_be_undone(each)
    items = [
        {
            "namespace": each["namespace"],
            "name": each["name"],
            "replicas": each["previous"],
            "currentReplicas": each["desired"],
            "uid": each["uid"],
        }
        for each in changes
    ]
    return plans.in_bulk(kdm, {"items": items, **body}, how)


def _can_be_undone(change: dict[str, Any]) -> None:
    if change["previous"] is None:
        raise CommandError(f"{formats.name(change)}: the count before its newest change is not known")
